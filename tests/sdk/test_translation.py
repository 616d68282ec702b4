"""What an upstream is asked, for every client's dialect in front of every upstream's: the same, in its own words.

A conversation is spelled as a client of one dialect and must be heard by an upstream of another as it was meant.
"""

import base64
import json
import re
from dataclasses import replace

import pytest

from clients import CLIENTS
from conversations import Ask, Image, Result, Tool, assistant, spell, tools, user, without_ids
from dialect_fixtures import CLIENT_KEY
from fake_dialects import DIALECTS, answer, dialect_of, key_of
from hearing import hear
from speakers import MODEL, Call, Text, Thought

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool("get_weather", "The weather of a place.", CITY)
CLOCK = Tool("get_time", "The time of a place.", CITY)
CALL = Call("call_one", "get_weather", {"city": "Zürich"})
SECOND_CALL = Call("call_two", "get_time", {"city": "Bern"})

ASKS = {
    "one prompt": Ask((user("Hello, “you” 🌊\n"),)),
    "system prompt": Ask((user("Hello"),), system="Be brief.\nBe kind."),
    "many turns": Ask((user("One"), assistant("Two"), user("Three"), assistant("Four"), user("Five"))),
    "image by address": Ask((user("What is this?", Image(url="https://example.test/a.png")),)),
    "image by bytes": Ask((user("Before", Image(mime="image/png", data=PIXEL), "after"),)),
    "tools": Ask((user("Hello"),), tools=(WEATHER, CLOCK)),
    "tool choice auto": Ask((user("Hello"),), tools=(WEATHER,), choice="auto"),
    "tool choice none": Ask((user("Hello"),), tools=(WEATHER,), choice="none"),
    "tool choice required": Ask((user("Hello"),), tools=(WEATHER,), choice="required"),
    "tool choice named": Ask((user("Hello"),), tools=(WEATHER, CLOCK), choice="get_time"),
    "no parallel calls": Ask((user("Hello"),), tools=(WEATHER,), parallel=False),
    "tool result": Ask(
        (user("Hello"), assistant("Let me see.", CALL), tools(Result("call_one", "get_weather", (Text("sunny"),)))),
        tools=(WEATHER,),
    ),
    "tool results": Ask(
        (
            user("Hello"),
            assistant(CALL, SECOND_CALL),
            tools(
                Result("call_one", "get_weather", (Text("sunny"),)),
                Result("call_two", "get_time", (Text('{"hour": 12}'),)),
            ),
            assistant("It is sunny at noon."),
            user("Thanks"),
        ),
        tools=(WEATHER, CLOCK),
    ),
    "sampling": Ask((user("Hello"),), max_tokens=123, temperature=0.5, top_p=0.25),
    "stop sequences": Ask((user("Hello"),), stop=("END", "\n\n")),
    "structured output": Ask((user("Hello"),), schema=CITY),
}


def meant(asked, client, upstream):
    """What the upstream should hear: all that its dialect, and the client's, have words for."""
    if client == "gemini" and asked.parallel is not None or upstream == "gemini":
        asked = replace(asked, parallel=None)
    if "responses" in (client, upstream):
        asked = replace(asked, stop=())
    return without_ids(asked) if "gemini" in (client, upstream) else asked


def heard_by(dialect, exchange, client):
    heard = hear(dialect, exchange.json())
    return without_ids(heard) if client == "gemini" else heard


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ASKS)
def test_these_tests_hear_what_they_spell(name, dialect):
    asked = ASKS[name]
    heard = hear(dialect, spell(dialect, asked, MODEL))
    if dialect == "anthropic" and asked.max_tokens is None:
        heard = replace(heard, max_tokens=None)
    if dialect == "anthropic" and asked.parallel is False:
        heard = replace(heard, choice=None)
    assert heard == meant(asked, dialect, dialect)


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("name", ASKS)
def test_an_upstream_hears_what_the_client_meant(scripted, name, client, upstream, streamed):
    asked = ASKS[name]
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.ask(client, upstream, asked, streamed=streamed) as request:
        assert request.head().status == 200, request.rest()
        assert b"fine" in request.rest()
    assert dialect_of(scripted.heard) == upstream
    heard, expected = heard_by(upstream, scripted.heard, client), meant(asked, client, upstream)
    if upstream == "anthropic" and asked.max_tokens is None:
        assert heard.max_tokens >= 1024
        heard = replace(heard, max_tokens=None)
    if client == "anthropic" and asked.max_tokens is None:
        expected = replace(expected, max_tokens=heard.max_tokens and 1024)
    if upstream == "anthropic" != client:
        # What its models refuse: a nucleus beside a temperature, and to stop at white space.
        expected = replace(expected, stop=tuple(stop for stop in expected.stop if stop.strip()))
        if expected.temperature is not None:
            expected = replace(expected, top_p=None)
    if expected.choice is None and heard.choice == "auto" and asked.tools:
        heard = replace(heard, choice=None)  # what it is without a choice, said aloud
    assert heard == expected


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
def test_each_upstream_gets_its_own_key_and_never_the_client_s(scripted, client, upstream):
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.ask(client, upstream, Ask((user("Hello"),))) as request:
        assert request.head().status == 200
        request.rest()
    heard = scripted.heard
    names = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}
    for name in ("authorization", "x-api-key", "x-goog-api-key"):
        expected = key_of(upstream) if name == names.get(upstream) else None
        if name == "authorization" and upstream in ("chat", "responses"):
            expected = f"Bearer {key_of(upstream)}"
        assert heard.header(name) == expected
    assert heard.header("anthropic-version") == ("2023-06-01" if upstream == "anthropic" else None)
    assert heard.header("content-type") == "application/json"
    assert CLIENT_KEY not in heard.target
    assert CLIENT_KEY not in str(heard.headers)
    if upstream == "gemini":
        assert heard.target == f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", ["chat", "responses"])
def test_developer_messages_are_instructions(scripted, client, upstream):
    scripted.upstreams.answer(answer(Text("fine")))
    said = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    with scripted.send(client, upstream, {{"chat": "messages", "responses": "input"}[client]: said}) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    heard = hear(upstream, scripted.heard.json())
    assert heard.system == "Be brief."
    assert heard.turns == (user("Hello"),)


@pytest.mark.parametrize("upstream", DIALECTS)
def test_a_failed_tool_is_known_as_failed_where_there_is_a_word_for_it(scripted, upstream):
    failed = Result("call_one", "get_weather", (Text("no such city"),), error=True)
    asked = Ask((user("Hello"), assistant(CALL), tools(failed)), tools=(WEATHER,))
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.ask("anthropic", upstream, asked) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    (result,) = hear(upstream, scripted.heard.json()).turns[-1].parts
    assert "no such city" in result.parts[0].text
    assert result.error is (upstream in ("anthropic", "gemini"))


def snake_case(value):
    """Google takes every field in this spelling, too; what schemas and arguments hold is not its own."""
    if isinstance(value, list):
        return [snake_case(one) for one in value]
    if not isinstance(value, dict):
        return value
    foreign = ("args", "response", "parametersJsonSchema", "responseJsonSchema")

    def spelled(name):
        return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)

    return {spelled(name): one if name in foreign else snake_case(one) for name, one in value.items()}


@pytest.mark.parametrize("name", ASKS)
def test_gemini_s_fields_are_read_in_both_spellings(scripted, name):
    scripted.upstreams.answer(answer(Text("fine")))
    body = snake_case(spell("gemini", ASKS[name], ""))
    with scripted.send("gemini", "chat", body) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    heard, expected = hear("chat", scripted.heard.json()), meant(ASKS[name], "gemini", "chat")
    assert without_ids(heard) == expected


ODD_IDS = ["functions.get_weather:0", "toolu_" + "x" * 60, "call_ü", "a"]


@pytest.mark.parametrize(
    ("client", "upstream"),
    [(client, upstream) for client in ("chat", "responses", "anthropic") for upstream in DIALECTS if upstream != client],
)
def test_ids_that_would_not_be_taken_are_changed_for_call_and_result_alike(scripted, client, upstream):
    calls = [Call(id, "get_weather", {"city": str(number)}) for number, id in enumerate(ODD_IDS)]
    results = [Result(call.id, call.name, (Text(call.arguments["city"]),)) for call in calls]
    asked = Ask((user("Hello"), assistant(*calls), tools(*results)), tools=(WEATHER,))
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.ask(client, upstream, asked) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    _, called, answered = hear(upstream, scripted.heard.json()).turns
    assert [call.arguments["city"] for call in called.parts] == ["0", "1", "2", "3"]
    assert [result.parts[0].text for result in answered.parts] == ["0", "1", "2", "3"]
    assert [call.id for call in called.parts] == [result.id for result in answered.parts]


@pytest.mark.parametrize("upstream", ["chat", "responses", "anthropic"])
def test_gemini_s_calls_get_ids_that_tell_them_apart(scripted, upstream):
    """Two calls of one tool in a turn, and again in the next: without ids, only order says whose a result is."""
    turns = []
    for turn in ("first", "second"):
        calls = [Call("", "get_weather", {"city": f"{turn} {n}"}) for n in range(2)]
        results = [Result("", "get_weather", (Text(f"{turn} {n}"),)) for n in range(2)]
        turns += [user(turn), assistant(*calls), tools(*results)]
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.ask("gemini", upstream, Ask(tuple(turns), tools=(WEATHER,))) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    heard = hear(upstream, scripted.heard.json()).turns
    for called, answered in ((heard[1], heard[2]), (heard[4], heard[5])):
        assert [call.id for call in called.parts] == [result.id for result in answered.parts]
        assert [call.arguments["city"] for call in called.parts] == [result.parts[0].text for result in answered.parts]


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", ["anthropic", "responses"])
def test_an_image_in_a_tool_result_arrives(scripted, client, upstream):
    shown = Result("call_one", "get_weather", (Text("the radar"), Image(mime="image/png", data=PIXEL)))
    asked = Ask((user("Hello"), assistant(CALL), tools(shown)), tools=(WEATHER,))
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.ask(client, upstream, asked) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    body = scripted.heard.json()
    assert PIXEL in json.dumps(body)
    result = next(part for turn in hear(upstream, body).turns for part in turn.parts if isinstance(part, Result))
    assert result.parts[0] == Text("the radar")


@pytest.mark.parametrize("client", ["chat", "responses", "gemini"])
@pytest.mark.parametrize(("asked", "heard"), [(0.0, 0.0), (0.7, 0.7), (1.0, 1.0), (1.7, 1.0)])
def test_anthropic_s_temperature_ends_at_one(scripted, client, asked, heard):
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.ask(client, "anthropic", Ask((user("Hello"),), temperature=asked)) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    assert scripted.heard.json()["temperature"] == heard


EFFORT = {
    "chat": {"reasoning_effort": "high"},
    "responses": {"reasoning": {"effort": "high", "summary": "auto"}},
    "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 8000}, "max_tokens": 9000},
    "gemini": {"generationConfig": {"thinkingConfig": {"thinkingBudget": 8000, "includeThoughts": True}}},
}


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
def test_thinking_is_asked_for(scripted, client, upstream):
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.send(client, upstream, spell(client, Ask((user("Hello"),)), "") | EFFORT[client]) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    body = scripted.heard.json()
    hear(upstream, body)
    match upstream:
        case "chat":
            assert body["reasoning_effort"] in ("medium", "high")
        case "responses":
            assert body["reasoning"]["effort"] in ("medium", "high") or body["reasoning"]["summary"]
            assert client == "responses" or "reasoning.encrypted_content" in body["include"]
        case "anthropic":
            thinking = body.get("thinking", {})
            assert thinking.get("type") in ("enabled", "adaptive")
            if thinking["type"] == "enabled":
                assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]
        case "gemini":
            thinking = body["generationConfig"]["thinkingConfig"]
            assert thinking.get("thinkingBudget", 0) >= 1024 or thinking.get("thinkingLevel")
            assert thinking["includeThoughts"] is True, "or there would be none to show"


URL_SAFE = str.maketrans("+/", "-_")

# Each signs in its own alphabet: standard base64, and OpenAI's URL-safe one.
SIGNATURES = {
    "chat": "EqQBCkYIARgC+KkB/a==",
    "responses": "gAAAAABo-Yx_9Zq1",
    "anthropic": "EqQBCkYIARgC+KkB/a==",
    "gemini": "CiQBVKhc7nB+/8qT",
}


def signature_seen(upstream, body):
    """The thought and the signature in the place where the upstream looks for them, before the call of their turn."""
    match upstream:
        case "chat":
            said = body["messages"][1]
            details = said["reasoning_details"]
            thought = said.get("reasoning_content") or "".join(detail.get("text", "") for detail in details)
            return thought, "".join(detail.get("signature", "") for detail in details)
        case "responses":
            assert [item.get("type", "message") for item in body["input"]][1:4] == [
                "reasoning",
                "function_call",
                "function_call_output",
            ]
            item = body["input"][1]
            return item["summary"][0]["text"], item["encrypted_content"]
        case "anthropic":
            first, second = body["messages"][1]["content"]
            assert (first["type"], second["type"]) == ("thinking", "tool_use")
            return first["thinking"], first["signature"]
    parts = body["contents"][1]["parts"]
    (called,) = [part for part in parts if "functionCall" in part]
    return "".join(part["text"] for part in parts if part.get("thought")), called["thoughtSignature"]


@pytest.mark.parametrize("way", ["stream", "whole"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
def test_signed_thinking_comes_back_to_its_upstream(scripted, client, upstream, way):
    """A tool turn by the official SDK: what the upstream signed, it is shown again in the next request."""
    if client == "chat" and way == "stream":
        way = "helper"  # which puts the pieces together
    sdk, signature = CLIENTS[client](scripted.url), SIGNATURES[upstream]
    scripted.upstreams.answer(answer(Thought("Let me see.", signature), CALL, finish="tools"), answer(Text("sunny")))
    model, turns, offered = f"via-{upstream}", [sdk.user("Hello")], [("get_weather", CITY)]
    first = sdk.ask(model, turns, way, tools=offered, think=True)
    assert (first.calls[0][1], first.calls[0][2]) == (CALL.name, CALL.arguments)
    turns += [*sdk.played_back(first), *sdk.results([(first.calls[0], "warm")])]
    assert sdk.ask(model, turns, way, tools=offered, think=True).text == "sunny"
    sdk.close()
    thought, shown = signature_seen(upstream, scripted.heard.json())
    if upstream == "gemini":
        # The thought itself need not go back, and bytes are the same in either alphabet.
        shown, signature = (base64.urlsafe_b64decode(text.translate(URL_SAFE)) for text in (shown, signature))
    else:
        assert thought == "Let me see."
    assert shown == signature


@pytest.mark.parametrize("upstream", DIALECTS)
def test_sealed_thinking_comes_back_to_anthropic_alone(scripted, upstream):
    """What Anthropic shows nobody (`redacted_thinking`) its client shows it again, and no other upstream."""
    sealed = {"type": "redacted_thinking", "data": "EroBsealed+/a=="}
    called = {"type": "tool_use", "id": "call_one", "name": "get_weather", "input": {"city": "Bern"}}
    result = {"type": "tool_result", "tool_use_id": "call_one", "content": "sunny"}
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": [sealed, called]}]
    messages.append({"role": "user", "content": [result]})
    scripted.upstreams.answer(answer(Text("fine")))
    with scripted.send("anthropic", upstream, {"messages": messages, "max_tokens": 100}) as request:
        assert request.head().status == 200, request.rest()
        request.rest()
    if upstream == "anthropic":
        assert scripted.heard.json()["messages"] == messages
    else:
        assert b"EroBsealed" not in scripted.heard.body


@pytest.mark.parametrize("client", ["anthropic"])
def test_a_signature_without_a_thought_comes_back_too(scripted, client):
    """Gemini signs calls that it shows no thought for."""
    sdk, signature = CLIENTS[client](scripted.url), SIGNATURES["gemini"]
    scripted.upstreams.answer(answer(Thought("", signature), CALL, finish="tools"), answer(Text("sunny")))
    turns, offered = [sdk.user("Hello")], [("get_weather", CITY)]
    first = sdk.ask("via-gemini", turns, "stream", tools=offered)
    turns += [*sdk.played_back(first), *sdk.results([(first.calls[0], "warm")])]
    sdk.ask("via-gemini", turns, "stream", tools=offered)
    sdk.close()
    assert signature_seen("gemini", scripted.heard.json()) == ("", signature)
