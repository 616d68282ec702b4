"""The plain dialect, read by an independent SSE client (httpx-sse): the text comes back exactly, and its end can't be
forged."""

import json
import re

import httpx
import pytest
from httpx_sse import connect_sse

from wire import Client

TEXTS = [
    "one",
    "two words",
    "  leading and trailing  ",
    " ",
    "\n",
    "\n\n\n",
    "a\nb",
    "a\r\nb",
    "a\rb",
    "a\r\n\r\n\r\r\n\nb\r",
    "a\n b\n  c\n\n",
    ":a comment?",
    "data: x\nevent: error\nid: 7\nretry: 1",
    "你好，世界。这是一个很长的没有空格的句子",
    "🌊👩‍👩‍👧🏳️‍🌈 e\u0301 \u200b\u2028\u2029\u0085\u000b\u000c\ufeff end",
    "nul \u0000 byte",
    "[DONE]",
    " [DONE]",
    "[DONE] [DONE]\n[DONE]\r\n[DONE]",
    "data: [DONE]",
    "data: [DONE]\n\ndata: [DONE]\n\n",
    '"[DONE]"',
    '{"error":{"message":"not really"}}',
    "{{7*7}} {% include '/etc/passwd' %} <script>",
]


def as_read(text):
    """What is left of a text's line ends once EventSource's rules have had their way."""
    return re.sub(r"\r\n|\r", "\n", text)


def read(method, url, **more):
    """The frames up to the first `[DONE]`, as a client would read them, and how many frames came after it."""
    said, after, done = [], 0, False
    with httpx.Client(timeout=60) as client, connect_sse(client, method, url, **more) as source:
        source.response.raise_for_status()
        for frame in source.iter_sse():
            if done:
                after += 1
            elif frame.data == "[DONE]":
                done = True
            else:
                assert frame.event == "message", frame
                said.append(frame.data)
    assert done, f"no [DONE] after {said}"
    assert after == 0, f"{after} frames after the first [DONE]: {said}"
    return said


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
@pytest.mark.parametrize("way", ["query", "json", "text"])
def test_the_text_comes_back(mock, text, way):
    url = mock.url + "/stream"
    match way:
        case "query":
            said = read("GET", url, params={"prompt": text, "model": "mock-echo"})
        case "json":
            said = read("POST", url, json={"prompt": text, "model": "mock-echo"})
        case "text":
            body, kind = text.encode(), {"content-type": "text/plain; charset=utf-8"}
            said = read("POST", url, params={"model": "mock-echo"}, content=body, headers=kind)
    assert "".join(said) == as_read(text)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_as_json_the_text_comes_back_to_the_byte(mock, text):
    url = mock.url + "/stream"
    said = read("POST", url, params={"encoding": "json"}, json={"prompt": text, "model": "mock-echo"})
    assert "".join(json.loads(data) for data in said) == text


def test_the_first_command_that_a_user_tries(mock):
    with Client(mock.port, "GET", "/stream?prompt=Hello") as client:
        head = client.head()
        assert head.status == 200
        assert head.header("content-type") == "text/event-stream; charset=utf-8"
        assert head.header("cache-control") == "no-cache, no-transform"
        assert head.header("x-accel-buffering") == "no"
        assert head.header("content-encoding") is None
        assert head.header("content-length") is None
        assert re.fullmatch(r"req_[0-9a-f]{32}", head.header("x-request-id"))
        *said, last = client.messages()
        assert client.response.complete
    assert last.done
    assert len(said) > 20
    assert "Hello" in "".join(frame.data for frame in said)


@pytest.mark.parametrize(
    ("target", "param"),
    [
        ("/stream", "prompt"),
        ("/stream?prompt=a&promt=b", "promt"),
        ("/stream?prompt=a&max_tokens=x", "max_tokens"),
        ("/stream?prompt=a&max_tokens=99999999999999999999", "max_tokens"),
        ("/stream?prompt=a&temperature=hot", "temperature"),
        ("/stream?prompt=a&encoding=xml", "encoding"),
        ("/stream?prompt=a&heartbeat=maybe", "heartbeat"),
    ],
)
def test_a_query_that_makes_no_sense_names_the_field(mock, target, param):
    with Client(mock.port, "GET", target) as client:
        error = json.loads(client.rest())["error"]
        assert client.response.status == 400
        assert client.response.header("x-request-id") == error["request_id"]
    assert error["code"] == "invalid_request"
    assert error["param"] == param
    assert param in error["message"]


@pytest.mark.parametrize(
    ("kind", "body", "status", "code", "named"),
    [
        ("application/json", b"{", 400, "invalid_request", ""),
        ("application/json", b'{"prompt":1}', 400, "invalid_request", "prompt"),
        ("application/json", b'{"prompt":"a","promt":"b"}', 400, "invalid_request", "promt"),
        ("application/json", b'{"model":"mock"}', 400, "invalid_request", "prompt"),
        ("application/json", b'{"prompt":"\xff"}', 400, "invalid_request", ""),
        ("application/json", b'{"prompt":"a","model":"gpt-nobody"}', 404, "model_not_found", "mock-echo"),
        ("application/json", b"[" * 10_000, 400, "invalid_request", ""),
        ("text/plain", b"\xff\xfe", 400, "invalid_request", "UTF-8"),
        ("application/xml", b"<prompt/>", 415, "unsupported_media_type", "application/json"),
        ("text/plain", b"a" * (32 * 1024 * 1024 + 1), 413, "body_too_large", "max_body"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(mock, kind, body, status, code, named):
    with Client(mock.port, "POST", "/stream", headers=[("content-type", kind)], body=body) as client:
        error = json.loads(client.rest())["error"]
        assert client.response.status == status
        assert client.response.header("x-request-id") == error["request_id"]
    assert error["code"] == code
    assert named in error["message"]


def test_a_wrong_method_says_which_are_right(mock):
    with Client(mock.port, "DELETE", "/stream") as client:
        error = json.loads(client.rest())["error"]
        assert client.response.status == 405
        allowed = {method.strip() for method in client.response.header("allow").split(",")}
    assert error["code"] == "method_not_allowed"
    assert {"GET", "POST"} <= allowed <= {"GET", "HEAD", "POST"}


def test_a_break_mid_stream_ends_in_an_error_and_not_in_done(mock):
    with Client(mock.port, "GET", "/stream?prompt=a&model=mock-break") as client:
        frames = client.messages()
        assert not client.response.complete, "who passes over the error meets a broken connection"
        request_id = client.response.header("x-request-id")
    *said, last = frames
    assert len(said) == 10
    assert all(frame.event == "message" and not frame.done for frame in said)
    assert last.event == "error"
    error = last.json()["error"]
    assert error["code"] == "upstream_reset"
    assert error["request_id"] == request_id
    assert error["message"]
    assert error["type"]


@pytest.mark.parametrize(("model", "status", "retry_after"), [("mock-error", 503, None), ("mock-ratelimit", 429, "1")])
def test_a_refusal_before_the_first_token_has_a_status(mock, model, status, retry_after):
    with Client(mock.port, "GET", f"/stream?prompt=a&model={model}") as client:
        error = json.loads(client.rest())["error"]
        assert client.response.status == status
        assert client.response.header("retry-after") == retry_after
    assert error["code"] == "upstream_refused"


def test_the_service_says_that_it_is_well(mock):
    for target in ("/healthz", "/readyz"):
        with Client(mock.port, "GET", target) as client:
            assert client.rest().strip() == b"ok"
            assert client.response.status == 200
