"""An upstream that says numbered tokens with the nonce of their stream, and breaks as its prompt asks it to.

The prompt of a request is a plan as JSON: {"nonce", "tokens", "pace", "fault", "at"}. Each token is `NONCE:NUMBER `."""

import asyncio
import json
import sys
import time
from collections import defaultdict

# fault: the codes that a client may be told then. The others of this list break nothing.
ERRORS = {
    "reset": {"upstream_reset"},
    "cut": {"upstream_reset", "upstream_truncated"},
    "end": {"upstream_truncated"},
    "stall": {"between_tokens_timeout"},
    "silent": {"first_token_timeout"},
    "error": {"chaos_fault"},
    "nonsense": {"upstream_bad_payload"},
    "refusal": {"chaos_refusal"},
}
HARMLESS = ("none", "slow")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _frame(data):
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    whole = b"data: " + text + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(whole), whole)


def _delta(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _frame({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})

LIES = ("lost", "doubled", "foreign", "false end", "end without a cause")


class Upstream:
    """The nonces that were asked for, with their times, and the answers under way. Each of `lies` is told once, though no plan asks
    for it: a client must find out."""

    def __init__(self, lies=()):
        self.calls = defaultdict(list)
        self.running = []
        self.lies = list(lies)

    async def start(self, host="127.0.0.1"):
        self._server = await asyncio.start_server(self._serve, host, 0, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                plan = json.loads(body["messages"][0]["content"])
                self.running.append(plan["nonce"])
                try:
                    if not await self._answer(plan, reader, writer):
                        return
                finally:
                    self.running.remove(plan["nonce"])
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            # Cancelled only when everything ends, and then nobody is interested.
            pass
        finally:
            writer.close()

    async def _answer(self, plan, reader, writer):
        """Returns whether the connection can be used again."""
        fault = plan["fault"]
        if fault == "refusal":
            error = json.dumps({"error": {"message": "not now", "type": "server_error", "code": "chaos_refusal"}})
            writer.write(f"HTTP/1.1 503 No\r\ncontent-type: application/json\r\ncontent-length: {len(error)}\r\n\r\n{error}".encode())
            return True
        self.calls[plan["nonce"]].append(time.monotonic())
        writer.write(HEAD)
        if fault == "silent":
            return await self._wait(reader, 60)
        lie = self.lies.pop() if self.lies and fault == "none" and plan["tokens"] > 20 else None
        for number in range(plan["tokens"]):
            if lie and number == 10:
                if lie == "false end":
                    break
                if lie == "end without a cause":
                    return await self._wait(reader, 60)
                number += {"lost": 1, "doubled": -1, "foreign": 0}[lie]
                plan = plan | ({"nonce": "another"} if lie == "foreign" else {})
            if fault not in HARMLESS and number == plan["at"]:
                return await self._break(fault, reader, writer)
            writer.write(_delta({"content": f"{plan['nonce']}:{number} "}))
            await writer.drain()
            await asyncio.sleep(plan["pace"])
            if reader.at_eof():
                return False
        writer.write(_delta({}, "stop") + _frame(b"[DONE]") + b"0\r\n\r\n")
        return True

    async def _break(self, fault, reader, writer):
        if fault == "reset":
            writer.transport.abort()
        elif fault == "end":
            writer.write(b"0\r\n\r\n")
            return True
        elif fault == "stall":
            await self._wait(reader, 60)
        elif fault == "error":
            writer.write(_frame({"error": {"message": "broke", "type": "server_error", "code": "chaos_fault"}}))
            await self._wait(reader, 5)
        elif fault == "nonsense":
            writer.write(_frame(b'{"choices":[{"index":0,"delta":{"content":"'))
            await self._wait(reader, 5)
        return False

    async def _wait(self, reader, seconds):
        """Waits until the server is gone, for so long."""
        try:
            await asyncio.wait_for(reader.read(1), seconds)
        except TimeoutError:
            pass
        return False


if __name__ == "__main__":

    async def serve(host):
        upstream = await Upstream().start(host)
        print(upstream.port, flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve(sys.argv[1]))
