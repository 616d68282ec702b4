"""An upstream that says exactly the bytes that a test scripted, when the test says so, and records what it saw.

It speaks HTTP/1.1 on raw sockets and knows nothing of chat completions but how to spell a few. A request is either
answered by a script (`answer`), in the connection's own thread, or handed to the test (`next`), which then plays the
upstream by hand: that is how a test sends a second token only after the client has received the first.
"""

import json
import queue
import socket
import struct
import threading
import time

DEADLINE = 30.0


def chunk(content=None, *, finish=None, model="upstream-model", **delta):
    """One chunk of a streamed chat completion."""
    if content is not None:
        delta["content"] = content
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def completion(content, *, model="upstream-model", finish="stop", **message):
    """A whole chat completion."""
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1700000000,
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


class Exchange:
    """One request that arrived, and the means to answer it."""

    def __init__(self, sock, method, target, headers, body, connection):
        self.sock, self.method, self.target = sock, method, target
        self.headers, self.body, self.connection = headers, body, connection
        self.over = threading.Event()
        self.reusable = True

    def header(self, name):
        """A header's only value, None without one; two are a failure."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} was sent {len(values)} times: {values}"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def head(self, status=200, headers=(), reason="Whatever"):
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
        self.send("\r\n".join(lines) + "\r\n\r\n")

    # A reply in one piece.

    def reply(self, status, body, *, content_type="application/json", headers=()):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        body = body.encode() if isinstance(body, str) else body
        self.head(status, [("content-type", content_type), ("content-length", len(body)), *headers])
        self.send(body)
        self.over.set()

    # A streamed reply: start, then piece or event as often as wanted, then end, cut or reset.

    def start(self, headers=(), content_type="text/event-stream"):
        self.head(200, [("content-type", content_type), ("transfer-encoding", "chunked"), *headers])

    def piece(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, data):
        self.piece(f"data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n")

    def say(self, *tokens):
        for token in tokens:
            self.event(chunk(token))

    def end(self):
        """The HTTP body's proper end, whatever the events said."""
        self.send(b"0\r\n\r\n")
        self.over.set()

    def finish(self, reason="stop"):
        """The proper end of an answer."""
        self.event(chunk(finish=reason))
        self.event("[DONE]")
        self.end()

    def cut(self):
        """Closes the connection in the middle of the body."""
        self.reusable = False
        self.sock.shutdown(socket.SHUT_RDWR)
        self.over.set()

    def reset(self):
        """Closes the connection with an RST."""
        self.reusable = False
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.over.set()

    def wait_gone(self, deadline=DEADLINE):
        """Returns when the other side has closed the connection; fails when it doesn't, or says something more."""
        self.reusable = False
        self.sock.settimeout(deadline)
        try:
            data = self.sock.recv(4096)
        except TimeoutError:
            raise AssertionError(f"after {deadline} s the upstream's connection is still open") from None
        except OSError:
            data = b""
        assert data == b"", f"the upstream's connection goes on with {data[:80]!r}"
        self.over.set()


class FakeUpstream:
    """Listens on a port of its own until `close`."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.seen = []
        self.connections = 0
        self.defects = []
        self._scripts = queue.Queue()
        self._arrived = queue.Queue()
        self._open = set()
        self._closing = False
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def answer(self, *scripts):
        """The next requests are answered by these functions of an exchange, one each, in this order."""
        for script in scripts:
            self._scripts.put(script)

    def next(self, deadline=DEADLINE):
        """The next request that no script answers."""
        try:
            return self._arrived.get(timeout=deadline)
        except queue.Empty:
            raise AssertionError(f"no request reached the upstream within {deadline} s") from None

    def wait_idle(self, deadline=DEADLINE):
        """Returns when no connection is open any more."""
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            with self._lock:
                if not self._open:
                    return
            time.sleep(0.01)
        raise AssertionError(f"after {deadline} s {len(self._open)} connections to the upstream are still open")

    def close(self):
        """Ends everything; a script that went wrong fails the test here."""
        self._closing = True
        self.listener.close()
        with self._lock:
            for sock in list(self._open):
                _shut(sock)
        if self.defects:
            raise AssertionError(f"the upstream's script went wrong: {self.defects!r}") from self.defects[0]

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._open.add(sock)
                number = self.connections
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, number):
        try:
            buffered = b""
            while (request := _read_request(sock, buffered)) is not None:
                method, target, headers, body, buffered = request
                exchange = Exchange(sock, method, target, headers, body, number)
                with self._lock:
                    self.seen.append(exchange)
                try:
                    script = self._scripts.get_nowait()
                except queue.Empty:
                    self._arrived.put(exchange)
                    while not exchange.over.wait(0.2):
                        if self._closing:
                            return
                else:
                    script(exchange)
                if not exchange.reusable:
                    return
                sock.settimeout(None)
        except OSError:
            pass  # The other side is gone; tests look at that with wait_gone and wait_idle.
        except Exception as defect:  # noqa: BLE001 - told in close
            self.defects.append(defect)
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()


def _shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _read_request(sock, buffered):
    """(method, target, headers, body, what is left over), or None when the connection ended between requests."""
    while b"\r\n\r\n" not in buffered:
        data = sock.recv(65536)
        if not data:
            assert buffered == b"", f"half a request: {buffered[:200]!r}"
            return None
        buffered += data
    head, _, rest = buffered.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1", version
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
    assert not any(name.lower() == "transfer-encoding" for name, _ in headers), "a request with a chunked body"
    length = lengths[0] if lengths else 0
    while len(rest) < length:
        data = sock.recv(65536)
        assert data, "the request's body broke off"
        rest += data
    return method, target, headers, rest[:length], rest[length:]
