"""Reads an HTTP response and its SSE frames from raw bytes, as they come, with a deadline on every wait.

Not a library client: a test sees each header as it was sent, each comment, and each frame the moment it arrives.
"""

import json
import re
import socket
import zlib
from dataclasses import dataclass, field

DEADLINE = 30.0


class Response:
    """Takes a response's bytes as they come; yields its head, then pieces of its body. Does no I/O."""

    def __init__(self):
        self.status = None
        self.version = None
        self.headers = []
        self.complete = False
        self._buffer = b""
        self._left = None  # bytes left of a chunk or of a body of known length; None: until the end
        self._chunked = False
        self._inflate = None

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        values = self.values(name)
        assert len(values) <= 1, f"{name} was sent {len(values)} times: {values}"
        return values[0] if values else None

    def feed(self, data):
        """More bytes; returns the bytes of the body among them."""
        self._buffer += data
        if self.status is None and not self._read_head():
            return b""
        body = self._read_chunks() if self._chunked else self._read_plain()
        return self._inflate.decompress(body) if self._inflate else body

    def end(self):
        """The connection was closed. Whether the body was whole by then is in `complete`."""
        if self.status is not None and not self._chunked and self._left is None:
            self.complete = True

    def _read_head(self):
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        self.version, status, *_ = first.split(" ")
        self.headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        self.status = int(status)
        self._buffer = rest
        if self.header("content-encoding") == "gzip":
            self._inflate = zlib.decompressobj(wbits=31)
        self._chunked = "chunked" in (self.header("transfer-encoding") or "")
        length = self.header("content-length")
        if self._chunked:
            self._left = 0
        elif length is not None:
            self._left = int(length)
            self.complete = self._left == 0
        return True

    def _read_plain(self):
        body = self._buffer if self._left is None else self._buffer[: self._left]
        self._buffer = self._buffer[len(body) :]
        if self._left is not None:
            self._left -= len(body)
            self.complete = self._left == 0
        return body

    def _read_chunks(self):
        body = b""
        while not self.complete:
            if self._left == 0:
                line, found, rest = self._buffer.removeprefix(b"\r\n").partition(b"\r\n")
                if not found:
                    break
                self._left = int(line.split(b";")[0], 16)
                self._buffer = rest
                if self._left == 0:
                    self.complete = True
                    break
            taken = self._buffer[: self._left]
            if not taken:
                break
            body += taken
            self._left -= len(taken)
            self._buffer = self._buffer[len(taken) :]
        return body


@dataclass
class Frame:
    """One SSE frame, by EventSource's rules. A comment of its own is a frame with `comments` and no data."""

    data: str | None = None
    event: str = "message"
    id: str | None = None
    comments: list = field(default_factory=list)
    raw: bytes = b""

    def json(self):
        return json.loads(self.data)

    @property
    def done(self):
        return self.data == "[DONE]"


class Frames:
    """Cuts bytes into frames, and insists on one spelling of line ends within a frame: LF throughout or CRLF
    throughout. EventSource's rules allow a mixture, but the official Node SDK holds such frames back."""

    def __init__(self):
        self._buffer = b""

    def feed(self, data):
        self._buffer += data
        while found := re.search(rb"\r\n\r\n|\n\n", self._buffer):
            raw, self._buffer = self._buffer[: found.start()], self._buffer[found.end() :]
            yield _frame(raw, found[0][: len(found[0]) // 2])

    @property
    def rest(self):
        return self._buffer


def _frame(raw, line_end):
    lines = raw.decode().split(line_end.decode())
    frame, data = Frame(raw=raw), []
    if raw.startswith(b'{"error":'):
        return frame  # an error once more, for Gemini's clients that know it only so
    for line in lines:
        assert "\r" not in line and "\n" not in line, f"mixed line ends in {raw!r}"
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                frame.comments.append(value)
            case "data":
                data.append(value)
            case "event":
                frame.event = value
            case "id":
                frame.id = value
            case _:
                raise AssertionError(f"an unknown field in {raw!r}")
    if data:
        frame.data = "\n".join(data)
    return frame


class Client:
    """One request on a connection of its own."""

    def __init__(self, port, method, target, *, headers=(), body=None, host="127.0.0.1", deadline=DEADLINE):
        self.deadline = deadline
        self.response = Response()
        self._frames = Frames()
        self._ready = []
        self.body = b""
        self.sock = socket.create_connection((host, port), timeout=deadline)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers = [("content-type", "application/json"), *headers]
        lines = [f"{method} {target} HTTP/1.1", f"host: {host}:{port}", *(f"{n}: {v}" for n, v in headers)]
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        try:
            self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused before the end of the body: the answer must be readable all the same.

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def _more(self):
        """Reads once; False at the end of the response."""
        if self.response.complete:
            return False
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise AssertionError(
                f"nothing came for {self.deadline} s; status {self.response.status}, so far {self.body[-500:]!r}"
            ) from None
        except ConnectionResetError:
            data = b""
        if not data:
            self.response.end()
            return False
        piece = self.response.feed(data)
        self.body += piece
        if piece:
            self._ready.extend(self._frames.feed(piece))
        return True

    def head(self):
        """The response's head, as soon as it is here."""
        while self.response.status is None:
            assert self._more(), "the connection ended before a response"
        return self.response

    def frame(self):
        """The next frame, comments included; None at the end of the response."""
        self.head()
        while not self._ready:
            if not self._more():
                assert self._frames.rest == b"", f"the response ends in half a frame: {self._frames.rest!r}"
                return None
        return self._ready.pop(0)

    def message(self):
        """The next frame that carries data; None at the end of the response."""
        while (frame := self.frame()) is not None:
            if frame.data is not None:
                return frame
        return None

    def messages(self):
        """All frames with data, to the end of the response."""
        return list(iter(self.message, None))

    def rest(self):
        """The whole body, once the response has ended."""
        self.head()
        while self._more():
            pass
        return self.body
