"""What goes wrong upstream, as the official SDK sees it: the right exception, the upstream's own words, never an end
that looks like success."""

import json
import socket

import openai
import pytest

from fake_upstream import chunk, completion
from harness import in_front_of
from wire import Client

MESSAGES = [{"role": "user", "content": "Say something."}]


def client_of(server, **more):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="any", timeout=60, **({"max_retries": 0} | more))


def ask(client, stream, **more):
    """Asks, and reads to the end: whatever goes wrong is raised here."""
    answer = client.chat.completions.create(model="gpt-any", messages=MESSAGES, stream=stream, **more)
    return list(answer) if stream else answer


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
        (529, openai.InternalServerError),
    ],
)
def test_a_refusal_arrives_as_the_upstream_said_it(start, upstream, status, kind, stream):
    # Spacing, an unknown field and an escape: the body is passed on, not spelled anew.
    body = b'{ "error" : {"message":"no \\u00fcse","type":"t_%d","param":"p","code":"c","more":[1.0]} }' % status
    upstream.answer(lambda exchange: exchange.reply(status, body, headers=[("x-request-id", "up-1")]))
    server = start(in_front_of(upstream.base_url))
    with client_of(server) as client, pytest.raises(kind) as caught:
        ask(client, stream)
    error = caught.value
    assert type(error) is kind
    assert error.status_code == status
    assert error.response.content == body
    assert error.response.headers["content-type"] == "application/json"
    assert error.response.headers["x-upstream-request-id"] == "up-1"
    assert (error.type, error.param, error.code) == (f"t_{status}", "p", "c")
    assert error.request_id not in (None, "up-1")
    assert len(upstream.seen) == 1
    record = server.generation()
    assert record["ended"] == "upstream_refused"
    assert record["status"] == status
    assert record["request_id"] == error.request_id


@pytest.mark.parametrize("stream", [True, False])
def test_retry_after_is_kept(start, upstream, stream):
    upstream.answer(lambda e: e.reply(429, {"error": {"message": "slow down"}}, headers=[("retry-after", "7")]))
    server = start(in_front_of(upstream.base_url))
    with client_of(server) as client, pytest.raises(openai.RateLimitError) as caught:
        ask(client, stream)
    assert caught.value.response.headers.get_list("retry-after") == ["7"]


@pytest.mark.parametrize("status", [429, 503])
def test_the_sdk_may_retry_and_the_proxy_never_does(start, upstream, status):
    refusal = {"error": {"message": "not now"}}
    server = start(in_front_of(upstream.base_url))
    upstream.answer(lambda e: e.reply(status, refusal, headers=[("retry-after", "1")]))
    with client_of(server) as client, pytest.raises(openai.APIStatusError):
        ask(client, False)
    assert len(upstream.seen) == 1

    upstream.answer(
        lambda e: e.reply(status, refusal, headers=[("retry-after", "1")]),
        lambda e: e.reply(200, completion("there you are")),
    )
    with client_of(server, max_retries=openai.DEFAULT_MAX_RETRIES) as client:
        assert ask(client, False).choices[0].message.content == "there you are"
    assert len(upstream.seen) == 3


def test_a_pooled_connection_that_dies_is_no_reason_to_send_twice(start, upstream):
    """An upstream that closes a kept-alive connection on a request may have begun to answer it: asking again is the
    client's choice."""
    server = start(in_front_of(upstream.base_url, top="workers = 1"))
    upstream.answer(lambda e: e.reply(200, completion("first")), lambda e: e.cut())
    with client_of(server) as client:
        assert ask(client, False).choices[0].message.content == "first"
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, False)
    assert caught.value.status_code == 502
    assert [exchange.connection for exchange in upstream.seen] == [1, 1]


@pytest.mark.parametrize("stream", [True, False])
def test_nobody_listens_upstream(start, stream):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    server = start(in_front_of(f"http://127.0.0.1:{port}/v1"))
    with client_of(server) as client, pytest.raises(openai.InternalServerError) as caught:
        ask(client, stream)
    assert (caught.value.status_code, caught.value.code) == (502, "connect_failed")
    assert str(port) not in caught.value.response.text, "an error tells a client no addresses"
    assert server.generation()["ended"] == "connect_failed"


def test_a_whole_answer_to_a_stream_is_played_as_one(start, upstream):
    upstream.answer(lambda e: e.reply(200, json.dumps(completion("whole")), content_type="application/json"))
    server = start(in_front_of(upstream.base_url))
    with client_of(server) as client:
        chunks = ask(client, True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "whole"


def test_an_upstream_that_answers_a_stream_with_a_page(start, upstream):
    upstream.answer(lambda e: e.reply(200, "<html>Please log in</html>", content_type="text/html"))
    server = start(in_front_of(upstream.base_url))
    with client_of(server) as client, pytest.raises(openai.InternalServerError) as caught:
        ask(client, True)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_not_a_stream")
    assert "Please log in" in caught.value.response.text, "a client is told the upstream's words"
    assert server.generation()["ended"] == "upstream_not_a_stream"
    assert "log in" not in server.log, "and the log is not"


def test_an_unstreamed_answer_that_is_a_page(start, upstream):
    upstream.answer(lambda e: e.reply(200, "<html>Please log in</html>", content_type="text/html"))
    server = start(in_front_of(upstream.base_url))
    with client_of(server) as client, pytest.raises(openai.InternalServerError) as caught:
        ask(client, False)
    assert caught.value.status_code == 502
    assert "Please log in" in caught.value.response.text


def cut(exchange):
    exchange.cut()


def reset(exchange):
    exchange.reset()


def end_without_a_finish(exchange):
    exchange.end()


def done_without_a_finish(exchange):
    exchange.event("[DONE]")
    exchange.end()


def half_a_chunk(exchange):
    exchange.piece('data: {"id":"x","choices":[{"index":0,"del')
    exchange.end()


def half_a_json_object(exchange):
    exchange.event('{"id":"x","choices":[{"index":0,"del')
    exchange.finish()


def an_error_frame(exchange):
    exchange.event({"error": {"message": "the model fell over", "type": "server_error", "code": "overloaded"}})
    exchange.finish()


def an_error_field(exchange):
    exchange.piece('error: {"error":{"message":"the model fell over","code":500}}\n\n')
    exchange.end()


@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        (cut, {"upstream_reset", "upstream_truncated"}),
        (reset, {"upstream_reset"}),
        (end_without_a_finish, {"upstream_truncated"}),
        (done_without_a_finish, {"upstream_truncated"}),
        (half_a_chunk, {"upstream_truncated"}),
        (half_a_json_object, {"upstream_bad_payload"}),
        (an_error_frame, {"upstream_error"}),
        (an_error_field, {"upstream_error", "upstream_truncated"}),
    ],
)
def test_a_fault_mid_stream_raises_and_never_looks_complete(start, upstream, fault, ended):
    def script(exchange):
        exchange.start()
        exchange.say("one", " two", " three")
        fault(exchange)

    server = start(in_front_of(upstream.base_url))
    upstream.answer(script)
    said = []
    with client_of(server) as client, pytest.raises(openai.APIError) as caught:
        for piece in client.chat.completions.create(model="gpt-any", messages=MESSAGES, stream=True):
            assert piece.choices[0].finish_reason is None
            said.append(piece.choices[0].delta.content)
    assert "".join(said) == "one two three", "what was said before the fault is not lost"
    assert not isinstance(caught.value, openai.APIConnectionError), "an error frame, not a cut connection"
    assert caught.value.message
    assert server.generation()["ended"] in ended

    # The same on the wire: the error is the last frame, and the HTTP body has no proper end.
    upstream.answer(script)
    with Client(server.port, "POST", "/v1/chat/completions", body=_body(stream=True)) as client:
        *said, last = client.messages()
        assert not client.response.complete
    assert [frame.json()["choices"][0]["delta"]["content"] for frame in said] == ["one", " two", " three"]
    assert last.json()["error"]["message"]
    assert last.json()["error"]["code"] in ended | {"overloaded"}


def test_an_upstream_s_own_error_frame_keeps_its_words(start, upstream):
    def script(exchange):
        exchange.start()
        exchange.say("one")
        an_error_frame(exchange)

    upstream.answer(script)
    server = start(in_front_of(upstream.base_url))
    with client_of(server) as client, pytest.raises(openai.APIError) as caught:
        ask(client, True)
    assert "the model fell over" in caught.value.message
    assert caught.value.code == "overloaded"
    assert caught.value.type == "server_error"


@pytest.mark.parametrize("ending", ["finish alone", "finish and done", "usage after finish"])
def test_an_answer_with_a_finish_is_complete_whatever_follows(start, upstream, ending):
    def script(exchange):
        exchange.start()
        exchange.say("one", " two")
        exchange.event(chunk(finish="stop"))
        if ending == "usage after finish":
            exchange.event(chunk() | {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})
        if ending != "finish alone":
            exchange.event("[DONE]")
        exchange.end()

    upstream.answer(script)
    server = start(in_front_of(upstream.base_url))
    with Client(server.port, "POST", "/v1/chat/completions", body=_body(stream=True)) as client:
        frames = client.messages()
        assert client.response.complete
    assert [frame.data for frame in frames].count("[DONE]") == 1
    assert frames[-1].done
    assert server.generation()["ended"] == "complete"


@pytest.mark.parametrize(
    ("stream", "timeout", "ended"),
    [(True, "first_token", "first_token_timeout"), (True, "total", "total_timeout"), (False, "total", "total_timeout")],
)
def test_an_upstream_that_says_nothing_is_a_timeout(start, upstream, stream, timeout, ended):
    server = start(in_front_of(upstream.base_url) + f'[timeouts]\n{timeout} = "200ms"\n')
    with client_of(server) as client, pytest.raises(openai.InternalServerError) as caught:
        ask(client, stream)
    assert (caught.value.status_code, caught.value.code) == (504, ended)
    upstream.next().wait_gone()
    assert server.generation()["ended"] == ended


def test_an_upstream_that_falls_silent_is_a_timeout(start, upstream):
    def script(exchange):
        exchange.start()
        exchange.say("one", " two")
        exchange.wait_gone()

    upstream.answer(script)
    server = start(in_front_of(upstream.base_url) + '[timeouts]\nbetween_tokens = "200ms"\n')
    said = []
    with client_of(server) as client, pytest.raises(openai.APIError) as caught:
        for piece in client.chat.completions.create(model="gpt-any", messages=MESSAGES, stream=True):
            said.append(piece.choices[0].delta.content)
    assert said == ["one", " two"]
    assert caught.value.code == "between_tokens_timeout"
    upstream.wait_idle()
    assert server.generation()["ended"] == "between_tokens_timeout"


def _body(**more):
    return {"model": "gpt-any", "messages": MESSAGES, **more}
