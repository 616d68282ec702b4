"""Plays the upstream: answers every request with the recording that its model names, cut into pieces in a chosen way.

A model is `<recording>~<cut>`: `whole`, a number of bytes per piece, `s` and a seed for pieces of random length, or
`half` for one piece that is only the first half of it. It is read from the request's JSON body, or from the path as
Gemini has it. Each piece is one HTTP chunk.
"""

import asyncio
import json
import random
import re
import threading

import oracle

CUTS = ("whole", "1", "7", "s1", "s2")


def pieces(body, cut):
    """The body in the pieces that this cut makes."""
    if cut in ("whole", "half"):
        return [body if cut == "whole" else oracle.half(body)]
    if not cut.startswith("s"):
        size = int(cut)
        return [body[at : at + size] for at in range(0, len(body), size)]
    dice, found, at = random.Random(cut), [], 0
    while at < len(body):
        size = dice.choice((1, 2, 3, 10, 100, 1000, 5000))
        found.append(body[at : at + size])
        at += size
    return found


class Replay:
    """A running upstream, in a thread of its own."""

    def __init__(self):
        self._streams = {recording.model: recording for recording in oracle.recordings()}
        self._refusals = {recording.model: reply for recording, reply in oracle.refusals()}
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def _run(self, started):
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._loop.call_soon(started.set)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(re.search(r"(?im)^content-length: *(\d+)", head)[1])
                body = await reader.readexactly(length)
                in_path = re.match(r"POST \S*/models/([^:?\s]+):", head)
                model = in_path[1] if in_path else json.loads(body)["model"]
                writer.write(self._answer(model))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _answer(self, model):
        name, _, cut = model.partition("~")
        if reply := self._refusals.get(name):
            body = reply["body"].encode()
            kept = [(k, v) for k, v in reply["response_headers"].items() if k in ("content-type", "retry-after")]
            lines = [f"HTTP/1.1 {reply['status']} Refused", *(f"{k}: {v}" for k, v in kept)]
            return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces(self._streams[name].body(), cut)]
        return head + b"".join(chunks) + b"0\r\n\r\n"
