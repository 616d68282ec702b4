"""Through a real nginx and a real HAProxy, with their default buffering on: every token arrives before the upstream
sends the next one, heads are what they should be, and a client's leaving reaches the upstream."""

import json
import statistics
import time

import openai
import pytest

from harness import in_front_of
from reverse_proxy import KINDS, ReverseProxy
from wire import Client

MESSAGES = [{"role": "user", "content": "Say something."}]
PLAIN_NGINX_KINDS = ("nginx", "nginx-gzip", "nginx-gzip-everything")
BODY = {"model": "m", "stream": True, "messages": MESSAGES}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def through(kind, tmp_path):
    """through(server) gives the port of the reverse proxy in front of it."""
    running = []

    def front(server):
        folder = tmp_path / kind
        folder.mkdir()
        running.append(ReverseProxy(kind, folder, server.port))
        return running[0].port

    yield front
    for proxy in running:
        proxy.stop()


def ask(port, kind, **more):
    """A streamed chat completion, from a client that would take any compression."""
    headers = [("accept-encoding", "gzip, deflate, br"), *more.pop("headers", ())]
    return Client(port, "POST", "/v1/chat/completions", headers=headers, body=BODY, **more)


def check_head(head, kind):
    assert head.status == 200
    assert head.header("content-type") == "text/event-stream; charset=utf-8"
    assert head.header("cache-control") == "no-cache, no-transform"
    # nginx obeys this one and keeps it to itself.
    assert head.header("x-accel-buffering") == (None if kind.startswith("nginx") else "no")
    assert head.header("content-encoding") == ("gzip" if kind == "nginx-gzip-everything" else None)
    assert head.header("content-length") is None
    assert head.header("x-request-id") == "through-a-proxy"


def test_every_token_arrives_before_the_next_one_is_sent(start, upstream, through, kind):
    port = through(start(in_front_of(upstream.base_url)))
    with ask(port, kind, headers=[("x-request-id", "through-a-proxy")]) as client:
        exchange = upstream.next()
        exchange.start()
        check_head(client.head(), kind)
        for number in range(20):
            token = f"token {number} 你好"
            exchange.say(token)
            assert client.message().json()["choices"][0]["delta"]["content"] == token
        exchange.finish()
        *_, last = client.messages()
        assert last.done
        assert client.response.complete


@pytest.mark.parametrize("kind", ["nginx", "nginx-advised", "nginx-gzip", "nginx-gzip-everything", "haproxy-advised"])
def test_tokens_are_not_slowed_down(start, upstream, through, kind):
    """Beside a direct connection, turn by turn: what holds tokens back costs 40 or 200 ms each, a hop next to nothing."""
    server = start(in_front_of(upstream.base_url))
    ways = []
    for port in (server.port, through(server)):
        client = ask(port, kind)
        exchange = upstream.next()
        exchange.start()
        ways.append((client, exchange, []))
    for _ in range(51):
        for client, exchange, waits in ways:
            sent = time.perf_counter()
            exchange.say("token")
            assert client.message() is not None
            waits.append(time.perf_counter() - sent)
    direct, proxied = (statistics.median(waits) for _, _, waits in ways)
    assert proxied < 10 * direct + 0.03, f"directly {direct:.4f} s, through {kind} {proxied:.4f} s"
    for client, exchange, _ in ways:
        exchange.finish()
        client.rest()
        client.close()


def test_a_plain_stream_is_read_token_by_token(start, upstream, through, kind):
    port = through(start(in_front_of(upstream.base_url)))
    target = "/stream?prompt=Hello&model=m"
    with Client(port, "GET", target, headers=[("accept-encoding", "gzip"), ("x-request-id", "through-a-proxy")]) as client:
        exchange = upstream.next()
        exchange.start()
        check_head(client.head(), kind)
        for token in ["one", " two", "\n", "three"]:
            exchange.say(token)
            assert client.message().data == token
        exchange.finish()
        assert client.message().done
        assert client.message() is None
        assert client.response.complete


def test_heartbeats_pass_before_and_between_tokens(start, upstream, through, kind):
    config = in_front_of(upstream.base_url) + '[sse]\nheartbeat = "50ms"\ncommit_after = "50ms"\n'
    port = through(start(config))

    def three_heartbeats(client):
        beats = 0
        while beats < 3:
            frame = client.frame()
            assert frame.data is None, frame
            assert frame.raw == b": heartbeat"
            beats += 1

    with ask(port, kind) as client:
        exchange = upstream.next()
        assert client.head().status == 200, "the head doesn't wait for the upstream's for ever"
        three_heartbeats(client)
        exchange.start()
        three_heartbeats(client)
        exchange.say("one")
        assert client.message().json()["choices"][0]["delta"]["content"] == "one"
        three_heartbeats(client)
        exchange.finish()
        *_, last = client.messages()
        assert last.done


@pytest.mark.parametrize("phase", ["before the head", "before the first token", "after the first token", "between heartbeats"])
def test_a_client_s_leaving_reaches_the_upstream(start, upstream, through, kind, phase):
    config = in_front_of(upstream.base_url)
    # A plain HAProxy learns that a client has left from what can't be written to it: heartbeats bring it to light.
    if phase == "between heartbeats" or kind in ("haproxy", "haproxy-compression"):
        config += '[sse]\nheartbeat = "50ms"\n' + ('commit_after = "50ms"\n' if phase == "before the head" else "")
    server = start(config)
    with ask(through(server), kind) as client:
        exchange = upstream.next()
        if phase != "before the head":
            exchange.start()
            assert client.head().status == 200
        if phase == "after the first token":
            exchange.say("one")
            assert client.message() is not None
        if phase == "between heartbeats":
            assert client.frame().comments == ["heartbeat"]
    exchange.wait_gone()
    assert server.generation()["ended"] == "client_left"


def test_an_early_refusal_keeps_its_status_and_its_words(start, upstream, through, kind):
    body = {"error": {"message": "slow down", "type": "rate_limit", "param": None, "code": "c"}}
    upstream.answer(lambda exchange: exchange.reply(429, body, headers=[("retry-after", "7")]))
    port = through(start(in_front_of(upstream.base_url)))
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0, timeout=60) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    assert caught.value.body == body["error"]
    assert caught.value.response.headers["retry-after"] == "7"


def test_an_error_mid_stream_arrives_as_one(start, upstream, through, kind):
    port = through(start(in_front_of(upstream.base_url)))
    with ask(port, kind) as client:
        exchange = upstream.next()
        exchange.start()
        exchange.say("one")
        assert client.message() is not None
        exchange.reset()
        (last,) = client.messages()
        assert last.json()["error"]["code"] == "upstream_reset"
        # HTTP/1.0, which nginx speaks to a server unless it is told otherwise, has no other end than a close.
        assert client.response.complete == (kind in PLAIN_NGINX_KINDS), "whoever passes over the error meets a broken body"


def test_any_text_comes_back(mock, through, kind):
    text = "  a\nb\n\n你好 🌊 data: [DONE]\n"
    with Client(through(mock), "POST", "/stream", body={"prompt": text, "model": "mock-echo"}) as client:
        *said, last = client.messages()
    assert last.done
    assert "".join(frame.data for frame in said) == text


def test_a_thousand_tokens_pass_in_order(start, upstream, through, kind):
    def script(exchange):
        exchange.start()
        for number in range(1000):
            exchange.say(json.dumps(number))
        exchange.finish()

    upstream.answer(script)
    port = through(start(in_front_of(upstream.base_url)))
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0, timeout=60) as client:
        chunks = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert said == [json.dumps(number) for number in range(1000)]
