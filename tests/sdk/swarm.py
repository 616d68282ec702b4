"""Reads many streams at once, in a process of its own: `swarm.py PORT COUNT TARGET`. Prints what came, as JSON.

All connections are open, all requests are sent and all first tokens are here before any stream is read further: they
do run at the same time.
"""

import asyncio
import collections
import json
import resource
import sys

from wire import Frames, Response

DEADLINE = 100


class Stream:
    """One of the many."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.response, self.frames = Response(), Frames()
        self.said = []

    async def read_until(self, enough):
        while not enough() and not self.response.complete:
            data = await self.reader.read(65536)
            if not data:
                self.response.end()
                break
            self.said.extend(frame for frame in self.frames.feed(self.response.feed(data)) if frame.data is not None)

    def verdict(self):
        """The text, or what is wrong."""
        if self.response.status != 200:
            return f"!status {self.response.status}"
        if not self.response.complete or self.frames.rest:
            return "!cut off"
        if not self.said or not self.said[-1].done or any(frame.done for frame in self.said[:-1]):
            return "!no [DONE] at the end, or more than one"
        if any(frame.event != "message" for frame in self.said):
            return "!an error frame"
        return "".join(frame.data for frame in self.said[:-1])


async def swarm(port, count, target):
    gate = asyncio.Semaphore(200)  # of connections being made at the same time, so that no backlog overflows

    async def connect():
        async with gate:
            return Stream(*await asyncio.open_connection("127.0.0.1", port))

    streams = await asyncio.gather(*(connect() for _ in range(count)))
    for stream in streams:
        stream.writer.write(f"GET {target} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
    await asyncio.gather(*(stream.read_until(lambda stream=stream: stream.said) for stream in streams))
    started = sum(bool(stream.said) for stream in streams)
    await asyncio.gather(*(stream.read_until(lambda: False) for stream in streams))
    verdicts = collections.Counter(stream.verdict() for stream in streams)
    return {"started": started, "verdicts": verdicts}


def main():
    port, count, target = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(asyncio.run(asyncio.wait_for(swarm(port, count, target), DEADLINE))))


if __name__ == "__main__":
    main()
