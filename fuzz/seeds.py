"""Writes the inputs that the fuzz targets start from into corpus/."""

import hashlib
import pathlib

ROOT = pathlib.Path("..")

REQUESTS = [
    b"GET / HTTP/1.1\r\nhost: t\r\n\r\n",
    b"GET /a?b=c HTTP/1.0\r\nconnection: keep-alive\r\n\r\n\r\nGET / HTTP/1.1\nhost:t\n\n",
    b"HEAD http://t/ HTTP/1.1\r\nHost: t\r\nConnection: Close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: t\r\naccept: text/event-stream\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nhelloPUT /b HTTP/1.1\r\nhost: t\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nhi",
    b"POST / HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\nhost: t\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"CONNECT t:443 HTTP/1.1\r\nhost: t\r\n\r\n",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\nuntil the close",
    b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
    b"HTTP/1.1 304\r\netag: \"a\"\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
]
CHUNKS = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"005;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n0;x\r\nx: y\r\nz: 1\r\n\r\nHTTP/1.1",
    b"FFFFFFFFFFFFFFFF\r\nabc",
    b"1;" + b"e" * 4096 + b"\r\nx\r\n0\r\n" + b"x: y\r\n" * 3276 + b"\r\n",
]
HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nhost: t\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def seed(target, data):
    folder = pathlib.Path("corpus") / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def stream(target, data):
    seed("sse", b"\x00\x00" + data[:4000])
    payloads = [line[5:].strip() for line in data.splitlines() if line.startswith(b"data:")]
    seed(target, b"\n".join(payloads)[:20000])


def http1(target, examples):
    for example in examples:
        seed(target, bytes(4) + example)
        seed(target, b"\x01\x02\x03\x07" + example)


def recordings():
    index = ROOT / "../shared/recordings/index.tsv"
    if not index.exists():
        return
    for line in index.read_text().splitlines()[1:]:
        name, _, dialect, *_ = line.split("\t")
        path = index.parent / name
        if name.endswith(".sse") and dialect in ("openai-chat", "openai-responses", "anthropic", "gemini"):
            stream(dialect.replace("-", "_"), path.read_bytes())
    for path in index.parent.glob("*/*.request.json"):
        seed("requests", path.read_bytes()[:20000])


for path in (ROOT / "tests/fixtures").glob("*/*.sse"):
    stream(path.parent.name.replace("-", "_"), path.read_bytes())
recordings()
http1("http1_requests", REQUESTS)
http1("http1_responses", RESPONSES)
http1("http1_chunks", CHUNKS)
http1(
    "websocket_handshakes",
    [
        HANDSHAKE + b"\r\n\x81\x85\x01\x02\x03\x04",
        HANDSHAKE + b"sec-websocket-protocol: a, b\r\norigin: http://t\r\n\r\n",
        REQUESTS[0] + HANDSHAKE + b"\r\n",
    ],
)
