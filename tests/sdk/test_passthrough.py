"""Between two ends that speak the same dialect nothing is changed: the upstream sees the client's bytes, the client
sees the upstream's, fields that nobody has heard of included."""

import base64
import json
import os
import random
import threading

import openai
import pytest

from fake_upstream import chunk, completion
from harness import in_front_of
from wire import Client

PNG = base64.b64encode(random.Random(7).randbytes(200_000)).decode()

REQUESTS = {
    "plain": {"messages": [{"role": "user", "content": "hi"}]},
    "image": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                ],
            }
        ]
    },
    "tools": {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Zürich 你好 🌊"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1.50}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": '{"sky":"blue"}'},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
    },
    "everything": {
        "messages": [{"role": "user", "content": "hi", "name": "kim", "cache_control": {"type": "ephemeral"}}],
        "temperature": 0.1,
        "top_p": 1,
        "n": 1,
        "stop": ["\n", "END"],
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "top_logprobs": 5,
        "seed": 9007199254740993,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        "metadata": {"a": "b"},
        "extra_body": {
            "chat_template_kwargs": {"enable_thinking": False},
            "min_p": 0.05,
            "never_heard_of": [None, {"deep": [1e-7, 12345678901234567890]}],
        },
    },
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", REQUESTS)
def test_the_upstream_sees_the_sdk_s_own_bytes(start, upstream, name, stream):
    def script(exchange):
        if stream:
            exchange.start()
            exchange.say("hello")
            exchange.finish()
        else:
            exchange.reply(200, completion("hello"))

    server = start(in_front_of(upstream.base_url))
    for base_url in (upstream.base_url, server.url + "/v1"):
        upstream.answer(script)
        with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60) as client:
            answer = client.chat.completions.create(model="gpt-any", stream=stream, **REQUESTS[name])
            said = "".join(c.choices[0].delta.content or "" for c in answer) if stream else answer.choices[0].message.content
            assert said == "hello"
    sent, seen = upstream.seen
    assert seen.body == sent.body
    assert seen.target == "/v1/chat/completions"
    assert seen.method == "POST"
    assert seen.header("content-type") == "application/json"
    assert seen.header("host") == f"127.0.0.1:{upstream.port}"


# Spaces, escapes, numbers and an order that no JSON library would write on its own.
HAND_WRITTEN = (
    b'{ "never_heard_of" : 1.0e2,\n\t"model" :"alias" , "stream":true, "messages":[ {"content":"\\u00fc \\/ \\"model\\": \\"alias\\"",'
    b' "role":"user"}], "metadata":{"model":"alias"}, "seed":12345678901234567890123 }'
)


def test_a_hand_written_body_arrives_as_it_was_written(start, upstream):
    upstream.answer(lambda e: (e.start(), e.finish()))
    server = start(in_front_of(upstream.base_url))
    with Client(
        server.port, "POST", "/v1/chat/completions", headers=[("content-type", "application/json")], body=HAND_WRITTEN
    ) as client:
        assert client.messages()[-1].done
    assert upstream.seen[0].body == HAND_WRITTEN


def test_a_model_with_another_name_upstream_changes_the_name_alone(start, upstream):
    upstream.answer(lambda e: (e.start(), e.finish()))
    models = '[[models]]\nname = "alias"\ntargets = [{ provider = "up", model = "real/name" }]'
    server = start(in_front_of(upstream.base_url, models=models))
    with Client(
        server.port, "POST", "/v1/chat/completions", headers=[("content-type", "application/json")], body=HAND_WRITTEN
    ) as client:
        assert client.messages()[-1].done

    # Numbers as they are spelled, keys in their order; the name in a text and in another object is not a model's.
    def read(body):
        return json.loads(body, parse_float=str, parse_int=str, object_pairs_hook=list)

    expected = [(key, "real/name" if key == "model" else value) for key, value in read(HAND_WRITTEN)]
    assert read(upstream.seen[0].body) == expected


STREAMS = {
    "unknown fields": [
        'data: { "id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":""},"x":[1.0]}],"p":"abcdef" }',
        'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm \\u00fc"},"logprobs":{"content":[{"token":"a","logprob":-0.10}]}}]}',
        'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop","stop_reason":null}],"usage":{"queue_time":1e-3}}',
    ],
    "no space after the colon": [
        'data:{"choices":[{"index":0,"delta":{"content":"hi"}}]}',
        'data:{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
    ],
    "choices without delta, and none": [
        'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}',
        'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}',
        'data: {"choices":[{"index":0,"content_filter_offsets":{"check_offset":1},"finish_reason":null}]}',
        'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
        'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}',
    ],
    "finish twice": [
        'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"你好 🌊"}}]}',
        'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop"}]}',
        'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop"}],"usage":{"cost":0.95}}',
    ],
}


def payloads(frames):
    return [frame.split(":", 1)[1].removeprefix(" ") for frame in frames]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("cut", ["whole", "bytes"])
@pytest.mark.parametrize("name", STREAMS)
def test_the_client_sees_the_upstream_s_own_payloads(start, upstream, name, cut, line_end):
    def script(exchange):
        exchange.start()
        wire = "".join(frame + line_end * 2 for frame in [*STREAMS[name], "data: [DONE]"]).encode()
        if cut == "whole":
            exchange.piece(wire)
        else:
            for at in range(len(wire)):
                exchange.piece(wire[at : at + 1])
        exchange.end()

    upstream.answer(script)
    server = start(in_front_of(upstream.base_url))
    with Client(server.port, "POST", "/v1/chat/completions", body={**REQUESTS["plain"], "model": "m", "stream": True}) as client:
        assert [frame.data for frame in client.messages()] == [*payloads(STREAMS[name]), "[DONE]"]
        assert client.response.complete


@pytest.mark.parametrize("cut", ["whole", "bytes"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_sdk_gets_each_token_at_once_whatever_the_upstream_s_line_ends(start, upstream, line_end, cut):
    """The next token is sent only when the one before has arrived: a client that holds frames back never ends."""
    server = start(in_front_of(upstream.base_url))
    arrived = threading.Semaphore(0)

    def script(exchange):
        exchange.start()
        for token in ["one", " two", " three"]:
            wire = f"data: {json.dumps(chunk(token))}{line_end * 2}".encode()
            for at in range(0, len(wire), len(wire) if cut == "whole" else 1):
                exchange.piece(wire[at : at + (len(wire) if cut == "whole" else 1)])
            assert arrived.acquire(timeout=30), f"{token!r} has not arrived"
        exchange.finish()

    upstream.answer(script)
    with openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=60) as client:
        said = []
        for piece in client.chat.completions.create(model="m", stream=True, **REQUESTS["plain"]):
            said.append(piece.choices[0].delta.content or "")
            arrived.release()
    assert "".join(said) == "one two three"


def test_a_whole_answer_arrives_as_it_was_written(start, upstream):
    body = b'{ "choices":[ {"index":0,"message":{"role":"assistant","content":"\\u00fc","reasoning":"x"},"finish_reason":"stop"} ], "n":1.0 }\n'
    upstream.answer(lambda e: e.reply(200, body, headers=[("x-request-id", "up-9"), ("set-cookie", "a=b")]))
    server = start(in_front_of(upstream.base_url))
    with Client(server.port, "POST", "/v1/chat/completions", body={**REQUESTS["plain"], "model": "m"}) as client:
        assert client.rest() == body
        assert client.response.header("content-type") == "application/json"
        assert client.response.header("x-upstream-request-id") == "up-9"
        assert client.response.header("set-cookie") is None


@pytest.mark.parametrize(("asked", "expected"), [((), True), ((("x-heartbeat", "off"),), False)])
def test_the_upstream_s_comments_pass_unless_comments_are_off(start, upstream, asked, expected):
    def script(exchange):
        exchange.start()
        exchange.piece(": OPENROUTER PROCESSING\n\n")
        exchange.say("hi")
        exchange.finish()

    upstream.answer(script)
    server = start(in_front_of(upstream.base_url))
    body = {**REQUESTS["plain"], "model": "m", "stream": True}
    with Client(server.port, "POST", "/v1/chat/completions", headers=asked, body=body) as client:
        frames = list(iter(client.frame, None))
    assert frames[-1].done
    assert [comment for frame in frames for comment in frame.comments] == (["OPENROUTER PROCESSING"] if expected else [])


def test_parallel_tool_calls_keep_their_index_id_and_arguments(start, upstream):
    def call(index, **more):
        return chunk(tool_calls=[{"index": index, **more}])

    def script(exchange):
        exchange.start()
        exchange.event(call(0, id="call_a", type="function", function={"name": "left", "arguments": ""}))
        exchange.event(call(1, id="call_b", type="function", function={"name": "right", "arguments": '{"x"'}))
        exchange.event(call(0, function={"arguments": '{"city":"Zü'}))
        exchange.event(call(1, function={"arguments": ":2}"}))
        exchange.event(call(0, function={"arguments": 'rich"}'}))
        exchange.finish("tool_calls")

    upstream.answer(script)
    server = start(in_front_of(upstream.base_url))
    calls = {}
    with openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=60) as client:
        for piece in client.chat.completions.create(model="m", stream=True, **REQUESTS["plain"]):
            for part in piece.choices[0].delta.tool_calls or []:
                known = calls.setdefault(part.index, ["", "", ""])
                known[0] += part.id or ""
                known[1] += part.function.name or ""
                known[2] += part.function.arguments or ""
    assert calls == {0: ["call_a", "left", '{"city":"Zürich"}'], 1: ["call_b", "right", '{"x":2}']}


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/openai/deployments/x", "/api/coding/paas/v4/"])
def test_a_base_url_may_have_any_path(start, upstream, path):
    upstream.answer(lambda e: e.reply(200, completion("hello")))
    server = start(in_front_of(f"http://127.0.0.1:{upstream.port}{path}"))
    with Client(server.port, "POST", "/v1/chat/completions", body={**REQUESTS["plain"], "model": "m"}) as client:
        client.rest()
        assert client.response.status == 200
    assert upstream.seen[0].target == path.rstrip("/") + "/chat/completions"


def test_the_upstream_gets_the_provider_s_headers_and_none_of_the_client_s(start, upstream):
    upstream.answer(lambda e: e.reply(200, completion("hello")))
    provider = 'api_key_env = "UPSTREAM_KEY"\nheaders = { "x-team" = "blue", "x-title" = "a b" }'
    server = start(in_front_of(upstream.base_url, provider=provider), env={"UPSTREAM_KEY": "the-provider-s-key"})
    hostile = [
        ("authorization", "Bearer the-client-s-key"),
        ("x-api-key", "the-client-s-key"),
        ("cookie", "session=the-client-s-key"),
        ("x-forwarded-host", "evil.example"),
        ("accept-encoding", "gzip, br"),
    ]
    body = {**REQUESTS["plain"], "model": "m", "api_base": "http://127.0.0.1:1", "base_url": "http://127.0.0.1:1"}
    with Client(server.port, "POST", "/v1/chat/completions", headers=hostile, body=body) as client:
        client.rest()
        assert client.response.status == 200
    seen = upstream.seen[0]
    assert seen.header("authorization") == "Bearer the-provider-s-key"
    assert seen.header("x-team") == "blue"
    assert seen.header("x-title") == "a b"
    assert seen.header("accept-encoding") in (None, "identity")
    assert not any("the-client-s-key" in value or "evil" in value for _, value in seen.headers)


def test_connections_to_the_upstream_are_kept_and_used_again(start, upstream):
    def streamed(exchange):
        exchange.start()
        exchange.say("hello")
        exchange.finish()

    server = start(in_front_of(upstream.base_url, top="workers = 1"))
    for turn in range(6):
        stream = turn % 2 == 0
        upstream.answer(streamed if stream else lambda e: e.reply(200, completion("hello")))
        body = {**REQUESTS["plain"], "model": "m", "stream": stream}
        with Client(server.port, "POST", "/v1/chat/completions", body=body) as client:
            client.rest()
            assert client.response.complete
        server.wait_records("generation", turn + 1)
    assert [exchange.connection for exchange in upstream.seen] == [1] * 6


def test_a_redirect_is_not_followed(start, upstream):
    elsewhere = f"http://127.0.0.1:{upstream.port}/elsewhere"
    upstream.answer(lambda e: e.reply(307, "", content_type="text/plain", headers=[("location", elsewhere)]))
    server = start(
        in_front_of(upstream.base_url, provider='api_key_env = "UPSTREAM_KEY"'), env={"UPSTREAM_KEY": os.urandom(8).hex()}
    )
    with Client(server.port, "POST", "/v1/chat/completions", body={**REQUESTS["plain"], "model": "m"}) as client:
        client.rest()
        assert client.response.status == 502
        assert client.response.header("location") is None
    assert len(upstream.seen) == 1
