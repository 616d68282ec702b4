"""A client's side of the wire, and no more: one HTTP/1.1 exchange per connection, SSE frames, and a WebSocket."""

import asyncio
import base64
import json
import os
import struct
from dataclasses import dataclass


class Broken(Exception):
    """A connection that ended before its message did."""


@dataclass
class Frame:
    """A Server-Sent Event that has data."""

    id: str | None
    event: str | None
    data: str


class FrameParser:
    """Frames out of bytes. What comes after the last blank line is no frame yet, and is never shown."""

    def __init__(self):
        self._rest = b""

    def feed(self, data):
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        frames = []
        for block in blocks:
            fields = {"data": []}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "data":
                    fields["data"].append(value)
                else:
                    fields[name] = value
            if fields["data"]:
                frames.append(Frame(fields.get("id"), fields.get("event"), "\n".join(fields["data"])))
        return frames


class Response:
    """The response of one request, whose body is still to be read."""

    def __init__(self, status, headers, reader, writer):
        self.status = status
        self.headers = headers
        self._reader = reader
        self._writer = writer
        self._body = self._read_body()

    def pieces(self):
        """The body as it arrives; asked for again, it goes on where it was left."""
        return self._body

    async def _read_body(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int((await self._line()).split(b";")[0], 16):
                yield await self._exactly(size)
                await self._line()
            await self._line()
        elif "content-length" in self.headers:
            left = int(self.headers["content-length"])
            if left:
                yield await self._exactly(left)

    async def body(self):
        return b"".join([piece async for piece in self.pieces()])

    async def error_code(self):
        """The code of an error's body; the status, if that is no error of the server's own."""
        try:
            error = json.loads(await self.body())["error"]
            return error.get("code") or error["type"]
        except (Broken, ValueError, KeyError, TypeError):
            return f"http_{self.status}"

    def drop(self):
        """Resets the connection, whatever is under way on it."""
        self._writer.transport.abort()

    async def _line(self):
        try:
            return (await self._reader.readuntil(b"\r\n"))[:-2]
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Broken(repr(error)) from None

    async def _exactly(self, size):
        try:
            return await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Broken(repr(error)) from None


async def request(port, method, target, headers=None, body=None, host="127.0.0.1"):
    """Sends a request over a connection of its own and returns its response once the head is there."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {target} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(payload)}"]
    writer = None
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
        writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
    except (asyncio.IncompleteReadError, OSError) as error:
        if writer:
            writer.transport.abort()
        raise Broken(repr(error)) from None
    except BaseException:
        if writer:
            writer.transport.abort()
        raise
    status, *fields = head.strip().split("\r\n")
    named = dict(field.split(": ", 1) for field in fields if ": " in field)
    return Response(int(status.split()[1]), {name.lower(): value for name, value in named.items()}, reader, writer)


class Socket:
    """A WebSocket of a client."""

    def __init__(self, response):
        self._response = response
        self._reader = response._reader
        self._writer = response._writer

    @classmethod
    async def open(cls, port):
        headers = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
        headers["sec-websocket-key"] = base64.b64encode(os.urandom(16)).decode()
        response = await request(port, "GET", "/v1/ws", headers)
        return cls(response) if response.status == 101 else response

    def send(self, message, opcode=1):
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        # The mask is there since the protocol wants one; zeros mask nothing.
        self._writer.write(bytes([0x80 | opcode]) + size + bytes(4) + payload)

    async def messages(self):
        """The server's messages, until the socket closes."""
        while True:
            first, size = await self._response._exactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", await self._response._exactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self._response._exactly(8))
            payload = await self._response._exactly(size)
            if first & 15 == 8:
                return
            if first & 15 == 9:
                self.send(payload, opcode=10)
            if first & 15 == 1:
                yield json.loads(payload)

    def drop(self):
        self._response.drop()
