"""The official SDKs in front of every upstream dialect: what each shows is what the mock says when asked directly.

One server has only the mock; another stands in front of it with a provider for each dialect. So every pair of a
client's and an upstream's dialect crosses real HTTP twice. Tests marked `feature` fill the table of the report.
"""

import json

import pydantic
import pytest
from google import genai

import harness
import wire
from clients import CLIENTS
from fake_dialects import BASE_PATH, CONFIG_NAME, DIALECTS, answer
from speakers import Text

MODELS = ["mock", "mock-fast", "mock-echo", "mock-error", "mock-ratelimit", "mock-break", "mock-tool", "mock-think"]
MODELS += ["mock-parallel", "mock-refusal", "mock-length", "mock-filter"]
PROMPT = "What is a rill?"
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
CLOCK = {"type": "object", "properties": {"zone": {"type": "string", "enum": ["CET", "UTC"]}}, "required": ["zone"]}
TOOLS = [("get_weather", WEATHER), ("get_time", CLOCK), ("no_arguments", {"type": "object", "properties": {}})]

feature = pytest.mark.feature
WAYS = [(client, way) for client in CLIENTS for way in CLIENTS[client].WAYS]
every_way = pytest.mark.parametrize(("client", "way"), WAYS)
every_stream = pytest.mark.parametrize(("client", "way"), [pair for pair in WAYS if pair[1] != "whole"])
every_upstream = pytest.mark.parametrize("upstream", DIALECTS)


def named(upstream, model):
    """The front's name for a model of the mock, reached in a dialect."""
    return f"{upstream}-{model}"


@pytest.fixture(scope="module")
def front(mock, tmp_path_factory):
    lines = []
    for dialect in DIALECTS:
        address = mock.url + BASE_PATH[dialect]
        lines += [f"[providers.{dialect}]", f'dialect = "{CONFIG_NAME[dialect]}"', f'base_url = "{address}"']
    for dialect in DIALECTS:
        for model in MODELS:
            target = f'{{ provider = "{dialect}", model = "{model}" }}'
            lines += ["[[models]]", f'name = "{named(dialect, model)}"', f"targets = [{target}]"]
    server = harness.Server(tmp_path_factory.mktemp("front"), "\n".join(lines) + "\n")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def sdks(front):
    sdks = {name: client(front.url) for name, client in CLIENTS.items()}
    yield sdks
    for sdk in sdks.values():
        sdk.close()


@pytest.fixture
def sdk(sdks, client):
    return sdks[client]


@pytest.fixture(scope="module")
def asked_directly(mock):
    """What the mock says without anything in between, in the dialect that needs no translation."""
    with_chat = CLIENTS["chat"](mock.url)
    yield lambda model, turns=None, **more: with_chat.ask(model, turns or [with_chat.user(PROMPT)], "whole", **more)
    with_chat.close()


def plain(mock, model, prompt):
    """The same by the plain endpoint: text alone."""
    body = {"prompt": prompt, "model": model}
    with wire.Client(mock.port, "POST", "/stream", body=body) as client:
        *said, last = client.messages()
    assert last.done
    return "".join(frame.data for frame in said)


@feature("text")
@every_upstream
@every_way
def test_text_is_what_the_model_says(sdk, mock, way, upstream):
    said = sdk.ask(named(upstream, "mock"), [sdk.user(PROMPT)], way)
    assert said.text == plain(mock, "mock", PROMPT)
    assert said.finish == sdk.FINISH["stop"]
    assert (said.reasoning, said.refusal, said.calls) == ("", "", [])


@feature("text")
@every_upstream
@every_way
def test_any_text_comes_back_exactly(sdk, way, upstream):
    text = "  two spaces\r\nCR LF, \r CR\n\n[DONE]\ndata: [DONE]\n\n你好 🌊👩‍👩‍👧 e\u0301 \u2028 \u0085 "
    text += '\\u0041 {"a": 1} </script>  '
    assert sdk.ask(named(upstream, "mock-echo"), [sdk.user(text)], way).text == text


@feature("tool call")
@every_upstream
@every_way
def test_a_tool_is_called(sdk, asked_directly, way, upstream):
    said = sdk.ask(named(upstream, "mock-tool"), [sdk.user(PROMPT)], way, tools=TOOLS[:1])
    ((_, name, arguments),) = asked_directly("mock-tool", tools=TOOLS[:1]).calls
    ((id, called, given),) = said.calls
    assert (called, given) == (name, arguments)
    assert called == "get_weather"
    assert isinstance(given["city"], str)
    assert isinstance(given["days"], int)
    assert id or sdk.NAME == "gemini", "only Gemini knows calls without an id"
    assert said.finish == sdk.FINISH["tools"]
    assert said.text == ""


@feature("tool result")
@every_upstream
@every_way
def test_a_tool_result_is_answered(sdk, mock, asked_directly, way, upstream):
    model, turns = named(upstream, "mock-tool"), [sdk.user(PROMPT)]
    first = sdk.ask(model, turns, way, tools=TOOLS[:1])
    turns += [*sdk.played_back(first), *sdk.results([(first.calls[0], "sunny")])]
    second = sdk.ask(model, turns, way, tools=TOOLS[:1])
    assert second.calls == []
    assert second.text == plain(mock, "mock", PROMPT)
    assert second.finish == sdk.FINISH["stop"]


@feature("parallel tools")
@every_upstream
@every_way
def test_all_tools_are_called_and_answered(sdk, mock, asked_directly, way, upstream):
    model, turns = named(upstream, "mock-parallel"), [sdk.user(PROMPT)]
    first = sdk.ask(model, turns, way, tools=TOOLS)
    expected = [call[1:] for call in asked_directly("mock-parallel", tools=TOOLS).calls]
    assert [name for name, _ in expected] == ["get_weather", "get_time", "no_arguments"]
    assert [(name, given or {}) for _, name, given in first.calls] == expected
    assert first.finish == sdk.FINISH["tools"]
    if sdk.NAME != "gemini":
        assert len({id for id, _, _ in first.calls}) == 3, "each call has an id of its own"
    results = [(call, f"result of {call[1]}") for call in first.calls]
    turns += [*sdk.played_back(first), *sdk.results(results)]
    second = sdk.ask(model, turns, way, tools=TOOLS)
    assert second.calls == []
    assert second.text == plain(mock, "mock", PROMPT)


@feature("thinking")
@every_upstream
@every_way
def test_thinking_is_shown_and_can_be_played_back(sdk, asked_directly, way, upstream):
    model, turns = named(upstream, "mock-think"), [sdk.user(PROMPT)]
    direct = asked_directly("mock-think")
    first = sdk.ask(model, turns, way, think=True)
    assert first.reasoning == direct.reasoning != ""
    assert first.text == direct.text
    if upstream != "chat":
        assert first.signature, "what the upstream signed, the next turn must be able to show"
    follow_up = "And a stream?"
    turns += [*sdk.played_back(first), sdk.user(follow_up)]
    second = sdk.ask(model, turns, way, think=True)
    spelled = {"role": "assistant", "content": direct.text}
    asked = [{"role": "user", "content": PROMPT}, spelled, {"role": "user", "content": follow_up}]
    assert second.text == asked_directly("mock-think", asked).text


@feature("refusal")
@every_upstream
@every_way
def test_a_refusal_is_seen_as_one(sdk, asked_directly, way, upstream):
    direct = asked_directly("mock-refusal")
    said = sdk.ask(named(upstream, "mock-refusal"), [sdk.user(PROMPT)], way)
    assert said.refusal or said.finish == sdk.FINISH["filter"], said
    assert said.text + said.refusal == direct.text + direct.refusal != ""
    assert said.calls == []


@feature("length")
@every_upstream
@every_way
def test_an_answer_cut_at_the_limit_says_so(sdk, asked_directly, way, upstream):
    said = sdk.ask(named(upstream, "mock-length"), [sdk.user(PROMPT)], way)
    assert said.finish == sdk.FINISH["length"]
    assert said.text == asked_directly("mock-length").text != ""


@feature("content filter")
@every_upstream
@every_way
def test_a_filtered_answer_says_so(sdk, asked_directly, way, upstream):
    said = sdk.ask(named(upstream, "mock-filter"), [sdk.user(PROMPT)], way)
    assert said.finish == sdk.FINISH["filter"]
    assert said.text == asked_directly("mock-filter").text


@feature("usage")
@pytest.mark.parametrize("model", ["mock-fast", "mock-tool", "mock-think", "mock-length"])
@every_upstream
@every_way
def test_usage_is_the_model_s_own(sdk, asked_directly, way, upstream, model):
    tools = TOOLS[:1] if model == "mock-tool" else ()
    direct = asked_directly(model, tools=tools)
    said = sdk.ask(named(upstream, model), [sdk.user(PROMPT)], way, tools=tools)
    assert direct.input > 0
    assert direct.output > 0
    assert (said.input, said.output) == (direct.input, direct.output)


@feature("early error")
@pytest.mark.parametrize(("model", "status"), [("mock-error", 503), ("mock-ratelimit", 429)])
@every_upstream
@every_way
def test_an_early_error_has_its_status_and_class(sdk, way, upstream, model, status):
    with pytest.raises(sdk.ERRORS[status]) as caught:
        sdk.ask(named(upstream, model), [sdk.user(PROMPT)], way)
    error = caught.value
    assert getattr(error, "status_code", None) == status or getattr(error, "code", None) == status
    assert error.message
    assert error.response.headers["x-request-id"]
    assert error.response.headers.get("retry-after") == ("1" if status == 429 else None)


@feature("late error")
@every_upstream
@every_stream
def test_a_broken_stream_is_an_error_and_never_an_end(sdk, mock, way, upstream):
    seen, raised = [], None
    try:
        sdk.ask(named(upstream, "mock-break"), [sdk.user(PROMPT)], way, seen=seen)
    except sdk.ERROR as error:
        raised = error
    assert raised is not None, "the SDK took it for a whole answer"
    assert "Connection" not in type(raised).__name__, "an error that is told, not a cut connection"
    assert not any(sdk.is_end(event) for event in seen), seen
    text = "".join(sdk.piece_of(event) for event in seen)
    assert text != ""
    assert plain(mock, "mock", PROMPT).startswith(text)


@feature("late error")
@every_upstream
@pytest.mark.parametrize(("client", "way"), [(client, "whole") for client in CLIENTS])
def test_a_broken_whole_answer_is_an_error(sdk, way, upstream):
    with pytest.raises(sdk.ERRORS[502]) as caught:
        sdk.ask(named(upstream, "mock-break"), [sdk.user(PROMPT)], way)
    assert getattr(caught.value, "status_code", None) == 502 or getattr(caught.value, "code", None) == 502


class Forecast(pydantic.BaseModel):
    city: str
    days: int


def parse(client, sdk, model, streamed):
    """A structured answer by the SDK's own means."""
    turns = [client.user(PROMPT)]
    match client.NAME, streamed:
        case "chat", False:
            completion = sdk.chat.completions.parse(model=model, messages=turns, response_format=Forecast)
            return completion.choices[0].message.parsed
        case "chat", True:
            with sdk.chat.completions.stream(model=model, messages=turns, response_format=Forecast) as stream:
                return stream.get_final_completion().choices[0].message.parsed
        case "responses", False:
            return sdk.responses.parse(model=model, input=turns, text_format=Forecast).output_parsed
        case "responses", True:
            with sdk.responses.stream(model=model, input=turns, text_format=Forecast) as stream:
                return stream.get_final_response().output_parsed
        case "anthropic", False:
            asked = {"model": model, "messages": turns, "max_tokens": 100}
            return sdk.messages.parse(**asked, output_format=Forecast).parsed_output
        case "anthropic", True:
            asked = {"model": model, "messages": turns, "max_tokens": 100}
            with sdk.messages.stream(**asked, output_format=Forecast) as stream:
                return stream.get_final_message().parsed_output
    config = {"response_mime_type": "application/json", "response_json_schema": Forecast.model_json_schema()}
    if not streamed:
        whole = sdk.models.generate_content(model=model, contents=turns, config=config)
        return Forecast.model_validate_json(whole.text)
    chunks = sdk.models.generate_content_stream(model=model, contents=turns, config=config)
    return Forecast.model_validate_json("".join(chunk.text or "" for chunk in chunks))


def schema_seen(dialect, body):
    """The schema where this dialect's upstreams look for it."""
    match dialect:
        case "chat":
            assert body["response_format"]["type"] == "json_schema"
            assert body["response_format"]["json_schema"]["name"]
            return body["response_format"]["json_schema"]["schema"]
        case "responses":
            assert body["text"]["format"]["type"] == "json_schema"
            assert body["text"]["format"]["name"]
            return body["text"]["format"]["schema"]
        case "anthropic":
            assert body["output_config"]["format"]["type"] == "json_schema"
            return body["output_config"]["format"]["schema"]
    config = body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    return config["responseJsonSchema"]


@feature("structured output")
@pytest.mark.parametrize("streamed", [True, False])
@every_upstream
@pytest.mark.parametrize("client", CLIENTS)
def test_structured_output_is_asked_for_and_parsed(scripted, client, upstream, streamed):
    said = Forecast(city="Zürich", days=3)
    scripted.upstreams.answer(answer(Text(json.dumps(said.model_dump()))))
    asking = CLIENTS[client](scripted.url)
    assert parse(asking, asking.sdk, f"via-{upstream}", streamed) == said
    asking.close()
    schema = schema_seen(upstream, scripted.heard.json())
    assert schema["properties"]["city"]["type"] == "string"
    assert schema["properties"]["days"]["type"] == "integer"
    assert sorted(schema["required"]) == ["city", "days"]


@feature("count tokens")
@pytest.mark.parametrize(("client", "upstream"), [("anthropic", "anthropic")])
def test_tokens_are_counted(sdk, upstream):
    model = named(upstream, "mock")
    short = sdk.sdk.messages.count_tokens(model=model, messages=[sdk.user(PROMPT)]).input_tokens
    long = sdk.sdk.messages.count_tokens(model=model, messages=[sdk.user(PROMPT * 9)]).input_tokens
    assert 0 < short < long
    assert short == sdk.ask(model, [sdk.user(PROMPT)], "whole").input


@every_upstream
def test_google_s_sdk_needs_no_more_than_the_address(front, mock, upstream):
    """Left to itself it asks under /v1, not /v1beta."""
    with genai.Client(api_key="any", http_options={"base_url": front.url}) as sdk:
        chunks = list(sdk.models.generate_content_stream(model=named(upstream, "mock"), contents=PROMPT))
        whole = sdk.models.generate_content(model=named(upstream, "mock"), contents=PROMPT)
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text == plain(mock, "mock", PROMPT)
