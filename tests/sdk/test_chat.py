"""The official OpenAI SDK against the mock: directly, and through a second server over real HTTP."""

import json

import openai
import pytest

from harness import MOCKS, Server, in_front_of

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


@pytest.fixture(scope="module")
def chained(mock, tmp_path_factory):
    """A server whose provider is another server."""
    models = "\n".join(f'[[models]]\nname = "{name}"\ntargets = [{{ provider = "up" }}]' for name in MOCKS)
    server = Server(tmp_path_factory.mktemp("front"), in_front_of(mock.url + "/v1", models=models))
    yield server
    server.stop()


@pytest.fixture(params=["direct", "chained"])
def client(request, mock):
    server = mock if request.param == "direct" else request.getfixturevalue("chained")
    with openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def ask(client, model, prompt="What is a rill?", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], **more)


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_streamed_answer_is_the_whole_answer(client):
    chunks = list(ask(client, "mock", stream=True))
    whole = ask(client, "mock")
    assert text_of(chunks) == whole.choices[0].message.content
    assert len(chunks) > 20, "a stream comes in many pieces"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {"mock"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert whole.object == "chat.completion"
    assert whole.model == "mock"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.choices[0].message.role == "assistant"


def test_the_same_request_says_the_same_words_at_any_pace(client):
    assert text_of(ask(client, "mock", stream=True)) == text_of(ask(client, "mock-fast", stream=True))


@pytest.mark.parametrize(
    "text",
    [
        "  two spaces before, two after  ",
        "line\nline\r\nline\rline\n\n",
        "你好，世界 🌊👩‍👩‍👧 naïve e\u0301 \u2028 \u0085 \u0000 end",
        "[DONE]",
        "data: [DONE]\n\ndata: [DONE]\n\n",
        'He said "\\n" and \\u0041 {{7*7}} </script>',
    ],
)
def test_an_echo_is_exact(client, text):
    assert text_of(ask(client, "mock-echo", text, stream=True)) == text
    assert ask(client, "mock-echo", text).choices[0].message.content == text


def test_usage_comes_last_and_only_when_asked_for(client):
    assert all(chunk.usage is None for chunk in ask(client, "mock-fast", stream=True))
    *said, last = list(ask(client, "mock-fast", stream=True, stream_options={"include_usage": True}))
    assert all(chunk.usage is None for chunk in said)
    assert last.choices == []
    usage = last.usage
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 20
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage == ask(client, "mock-fast").usage, "the same answer costs the same, streamed or not"


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_is_honoured(client, limit):
    *said, last = list(ask(client, "mock", stream=True, stream_options={"include_usage": True}, **{limit: 5}))
    whole = ask(client, "mock", **{limit: 5})
    assert said[-1].choices[0].finish_reason == "length" == whole.choices[0].finish_reason
    assert text_of(said) == whole.choices[0].message.content
    assert last.usage.completion_tokens == 5 == whole.usage.completion_tokens


def test_reasoning_comes_before_the_answer(client):
    reasoning, answer = [], []
    for chunk in ask(client, "mock-think", stream=True):
        delta = chunk.choices[0].delta
        if thought := getattr(delta, "reasoning_content", None):
            assert not answer, "it reasoned after it began to answer"
            reasoning.append(thought)
        if delta.content:
            answer.append(delta.content)
    assert len(reasoning) > 1
    assert len(answer) > 1
    message = ask(client, "mock-think").choices[0].message
    assert message.reasoning_content == "".join(reasoning)
    assert message.content == "".join(answer)


def collect_calls(chunks):
    """The tool calls that a stream spells, by index, and why it finished."""
    calls, finish = {}, None
    for chunk in chunks:
        choice = chunk.choices[0]
        finish = choice.finish_reason or finish
        for piece in choice.delta.tool_calls or []:
            call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
            call["id"] += piece.id or ""
            call["name"] += piece.function.name or ""
            call["arguments"] += piece.function.arguments or ""
    return calls, finish


def test_a_tool_is_called_answered_and_not_called_again(client):
    messages = [{"role": "user", "content": "How is the weather in Zürich?"}]
    calls, finish = collect_calls(
        client.chat.completions.create(model="mock-tool", messages=messages, tools=[WEATHER], stream=True)
    )
    assert finish == "tool_calls"
    assert list(calls) == [0]
    call = calls[0]
    assert call["id"]
    assert call["name"] == "get_weather"
    arguments = json.loads(call["arguments"])
    assert isinstance(arguments["city"], str)
    assert isinstance(arguments["days"], int)

    whole = client.chat.completions.create(model="mock-tool", messages=messages, tools=[WEATHER]).choices[0]
    assert whole.finish_reason == "tool_calls"
    (called,) = whole.message.tool_calls
    assert called.type == "function"
    assert called.function.name == "get_weather"
    assert json.loads(called.function.arguments) == arguments

    messages += [
        whole.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": called.id, "content": '{"sky": "blue"}'},
    ]
    chunks = list(client.chat.completions.create(model="mock-tool", messages=messages, tools=[WEATHER], stream=True))
    assert collect_calls(chunks) == ({}, "stop"), "with its result at hand the model answers"
    assert text_of(chunks)


def test_the_sdk_accumulates_a_stream_with_tools(client):
    messages = [{"role": "user", "content": "How is the weather?"}]
    with client.chat.completions.stream(model="mock-tool", messages=messages, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments)


def test_models_are_listed_and_found(client):
    listed = list(client.models.list())
    assert {model.object for model in listed} == {"model"}
    assert set(MOCKS) <= {model.id for model in listed}
    assert client.models.retrieve("mock-echo").id == "mock-echo"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("mock-nobody")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [True, False])
def test_an_unknown_model_is_not_found_and_the_known_are_named(client, stream):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "gpt-nobody", stream=stream)
    error = caught.value
    assert error.code == "model_not_found"
    assert error.param == "model"
    assert error.type == "invalid_request_error"
    assert "gpt-nobody" in error.message
    assert "mock-echo" in error.message
    assert error.request_id


@pytest.mark.parametrize("stream", [True, False])
def test_a_rate_limit_says_when_to_come_back(client, stream):
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, "mock-ratelimit", stream=stream)
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.request_id


@pytest.mark.parametrize("stream", [True, False])
def test_an_upstream_that_is_down_is_a_server_error(client, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "mock-error", stream=stream)
    assert caught.value.status_code == 503
    assert caught.value.message
    assert caught.value.request_id


def test_a_stream_that_breaks_raises_after_what_was_said(client):
    said, finished = [], []
    with pytest.raises(openai.APIError) as caught:
        for chunk in ask(client, "mock-break", stream=True):
            said.append(chunk.choices[0].delta.content or "")
            finished.append(chunk.choices[0].finish_reason)
    assert not isinstance(caught.value, openai.APIConnectionError), "an error frame, not a cut connection"
    assert caught.value.code == "upstream_reset"
    assert caught.value.message
    whole = ask(client, "mock-fast").choices[0].message.content
    assert "".join(said)
    assert whole.startswith("".join(said))
    assert len([token for token in said if token]) == 10
    assert not any(finished), "a broken answer never looks complete"


def test_an_answer_that_breaks_unstreamed_is_an_error(client):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "mock-break")
    assert caught.value.status_code == 502


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "hello"}]}, "messages"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"stream_options": "yes"}, "stream_options"),
        ({"tools": "hammer"}, "tools"),
    ],
)
def test_a_request_that_makes_no_sense_names_the_field(client, wrong, param, stream):
    body = {"model": "mock-fast", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body=body | wrong, cast_to=object)
    error = caught.value
    assert error.type == "invalid_request_error"
    assert error.param is not None, error.body
    assert error.param.startswith(param)
    assert param in error.message
    assert error.request_id


def test_the_client_s_own_request_id_comes_back(client):
    own = "my-own_id.42"
    raw = client.chat.completions.with_raw_response.create(
        model="mock-fast", messages=[{"role": "user", "content": "hi"}], extra_headers={"x-request-id": own}
    )
    assert raw.headers["x-request-id"] == own
    raw = client.chat.completions.with_raw_response.create(
        model="mock-fast", messages=[{"role": "user", "content": "hi"}], extra_headers={"x-request-id": "not one!"}
    )
    assert raw.headers["x-request-id"].startswith("req_")
    assert len(raw.headers["x-request-id"]) == len("req_") + 32
