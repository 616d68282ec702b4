"""Requests that can't be translated: refused in the client's own words, or served without a field, which is logged."""

import json
import time

import pytest

from conversations import Ask, endpoint, spell, user
from fake_dialects import DIALECTS, answer
from hearing import hear
from shapes import error_message
from speakers import Text
from wire import Client

ASK = Ask((user("Hello"),))
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FILE_ID = {"type": "input_file", "file_id": "file_1"}

# What a client says, the field that is to blame, and the upstreams that can't take it.
IMPOSSIBLE = {
    "two answers": ("chat", {"n": 2}, "n", ["responses", "anthropic"]),
    "audio": ("chat", {"messages": [{"role": "user", "content": [AUDIO]}]}, "messages", ["anthropic"]),
    "a stored answer": (
        "responses",
        {"previous_response_id": "resp_1"},
        "previous_response_id",
        ["chat", "anthropic", "gemini"],
    ),
    "a stored conversation": ("responses", {"conversation": "conv_1"}, "conversation", ["chat", "anthropic", "gemini"]),
    "a stored file": (
        "responses",
        {"input": [{"role": "user", "content": [FILE_ID]}]},
        "input",
        # OpenAI's two APIs share their files.
        ["anthropic", "gemini"],
    ),
}


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("name", "upstream"), [(name, upstream) for name, (*_, upstreams) in IMPOSSIBLE.items() for upstream in upstreams]
)
def test_what_the_upstream_has_no_words_for_is_refused_by_name(scripted, name, upstream, streamed):
    client, said, field, _ = IMPOSSIBLE[name]
    body = spell(client, ASK, "") | said
    with scripted.unasked(), scripted.send(client, upstream, body, streamed=streamed) as request:
        assert request.head().status == 400, request.rest()
        body = request.rest()
    assert field in error_message(client, 400, body)
    if client in ("chat", "responses"):
        error = json.loads(body)["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"].split(".")[0].split("[")[0] == field


HAMMER = {"type": "function", "function": {"name": "hammer", "description": "Hits.", "parameters": {"type": "object"}}}

# What a client says and an upstream can do without: the field, and where it must not turn up.
DROPPED = [
    ("chat", "anthropic", {"seed": 7}, "seed"),
    ("chat", "responses", {"seed": 7}, "seed"),
    ("chat", "anthropic", {"frequency_penalty": 0.5}, "frequency_penalty"),
    ("chat", "responses", {"logit_bias": {"50256": -100}}, "logit_bias"),
    ("chat", "responses", {"stop": ["END"]}, "stop"),
    ("chat", "gemini", {"parallel_tool_calls": False, "tools": [HAMMER]}, "parallel_tool_calls"),
    ("chat", "gemini", {"nobody_knows": {"a": 1}}, "nobody_knows"),
    ("responses", "anthropic", {"nobody_knows": [1]}, "nobody_knows"),
    ("responses", "chat", {"nobody_knows": 1}, "nobody_knows"),
    ("anthropic", "responses", {"stop_sequences": ["END"]}, "stop"),
    ("anthropic", "chat", {"nobody_knows": 1}, "nobody_knows"),
    ("gemini", "anthropic", {"safetySettings": [{"category": "X", "threshold": "Y"}]}, "safetySettings"),
    ("gemini", "chat", {"nobodyKnows": 1}, "nobodyKnows"),
]


def warnings(scripted, since, field, deadline=30):
    """The new lines of the log that warn of a field; waits for the first."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        lines = [json.loads(line) for line in scripted.server._lines[since:] if line.startswith("{")]
        if found := [line for line in lines if line["level"] == "WARN" and field in json.dumps(line)]:
            return found
        time.sleep(0.01)
    raise AssertionError(f"no warning of {field}: {scripted.server._lines[since:]}")


@pytest.mark.parametrize(("client", "upstream", "said", "field"), DROPPED)
def test_what_an_upstream_can_do_without_is_left_out_and_logged(scripted, client, upstream, said, field):
    since = len(scripted.server._lines)
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.send(client, upstream, spell(client, ASK, "") | said) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
        request_id = request.response.header("x-request-id")
    body = scripted.heard.json()
    assert hear(upstream, body).turns == ASK.turns
    for key in said.keys() - {"tools"}:
        assert f'"{key}"' not in json.dumps(body)
    (line,) = warnings(scripted, since, field)
    assert request_id in json.dumps(line)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_within_a_dialect_nothing_is_left_out_or_logged(scripted, dialect):
    since = len(scripted.server._lines)
    more = {"nobody_knows": {"a": [1, 2.50, None]}, "seed": 12345678901234567890}
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.send(dialect, dialect, spell(dialect, ASK, "") | more) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    assert b'"nobody_knows": {"a": [1, 2.5, null]}' in scripted.heard.body, "as it was written"
    assert b"12345678901234567890" in scripted.heard.body
    scripted.server.wait_line(request.response.header("x-request-id"))
    assert not [line for line in scripted.server._lines[since:] if '"WARN"' in line and "nobody_knows" in line]


def test_thinking_that_nobody_signed_is_not_shown_to_anthropic(scripted):
    """Its API refuses thinking without its own signature: what came from elsewhere is left out."""
    said = {"role": "assistant", "content": "Two", "reasoning_content": "One and one."}
    messages = [{"role": "user", "content": "One"}, said, {"role": "user", "content": "Three"}]
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.send("chat", "anthropic", {"messages": messages}) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    assert [turn.role for turn in hear("anthropic", scripted.heard.json()).turns] == ["user", "assistant", "user"]
    assert b"thinking" not in scripted.heard.body


@pytest.mark.parametrize("upstream", ["chat", "responses", "gemini"])
def test_thinking_that_another_signed_is_not_shown(scripted, upstream):
    """A client that changed models shows the thinking of the one before: it is no one else's business."""
    thinking = {"type": "thinking", "thinking": "One and one.", "signature": "EqQBCkYIARgC+KkB/a=="}
    said = {"role": "assistant", "content": [thinking, {"type": "text", "text": "Two"}]}
    messages = [{"role": "user", "content": "One"}, said, {"role": "user", "content": "Three"}]
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.send("anthropic", upstream, {"messages": messages, "max_tokens": 9}) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    assert b"EqQBCkYIARgC" not in scripted.heard.body


NONSENSE = [
    ("chat", {"messages": "hello"}, "messages"),
    ("responses", {"input": 5}, "input"),
    ("responses", {"input": [{"role": "nobody", "content": "x"}]}, "input"),
    ("responses", {"max_output_tokens": "many"}, "max_output_tokens"),
    ("anthropic", {"messages": "hello"}, "messages"),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages"),
    ("anthropic", {"max_tokens": "many"}, "max_tokens"),
    ("anthropic", {"tools": "hammer"}, "tools"),
    ("gemini", {"contents": "hello"}, "contents"),
    ("gemini", {"generationConfig": {"maxOutputTokens": "many"}}, "maxOutputTokens"),
    ("gemini", {"tools": "hammer"}, "tools"),
]


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(("client", "said", "field"), NONSENSE)
def test_nonsense_is_refused_by_name(scripted, client, said, field, streamed):
    upstream = "chat" if client != "chat" else "anthropic"
    body = spell(client, ASK, "") | said
    with scripted.unasked(), scripted.send(client, upstream, body, streamed=streamed) as request:
        assert request.head().status == 400, request.rest()
        assert request.response.header("x-request-id")
        assert field in error_message(client, 400, request.rest())


@pytest.mark.parametrize("client", DIALECTS)
def test_an_unknown_model_is_told_in_the_client_s_own_shape(scripted, client):
    with scripted.send(client, "nobody", spell(client, ASK, "")) as request:
        assert request.head().status == 404
        assert "via-nobody" in error_message(client, 404, request.rest())


@pytest.mark.parametrize("client", DIALECTS)
def test_a_body_that_is_no_json_is_told_in_the_client_s_own_shape(scripted, client):
    headers = [("content-type", "application/json")]
    with Client(scripted.server.port, "POST", endpoint(client, "m", True), headers=headers, body=b"{no") as request:
        assert request.head().status == 400
        assert error_message(client, 400, request.rest())
