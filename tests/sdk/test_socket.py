"""Responses over a WebSocket through OpenAI's own SDK: turns that go on from the last, streams side by side, errors."""

import openai
import pytest

DIALECTS = ["mock", "chat", "responses", "anthropic", "gemini"]
NAMES = {"chat": "openai-chat", "responses": "openai-responses"}
LAST = {"response.completed", "response.incomplete", "response.failed", "error"}


@pytest.fixture
def connect(start):
    """connect(dialect) opens a socket: to the mock itself, or to a server in front of it."""

    def make(dialect):
        server = start(env={"TOKENRILL_MOCK_TOKENS_PER_SECOND": "0"})
        if dialect != "mock":
            base = server.url + {"anthropic": "", "gemini": "/v1beta"}.get(dialect, "/v1")
            provider = f'[providers.up]\ndialect = "{NAMES.get(dialect, dialect)}"\nbase_url = "{base}"\n'
            server = start(provider + '[[models]]\nname = "*"\ntargets = [{ provider = "up" }]\n')
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=60)
        return client.responses.connect()

    return make


def heard(connection):
    """The events of the next response, to its last."""
    events = []
    for event in connection:
        events.append(event)
        if event.type in LAST:
            return events


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_turn_goes_on_from_the_last(connect, dialect):
    with connect(dialect) as connection:
        connection.response.create(model="mock", store=False, input="What is a rill?")
        first = heard(connection)
        assert (first[0].type, first[-1].type) == ("response.created", "response.completed")
        response = first[-1].response
        said = "".join(event.delta for event in first if event.type == "response.output_text.delta")
        assert said == response.output_text != ""
        connection.response.create(model="mock", store=False, input="And a brook?", previous_response_id=response.id)
        second = heard(connection)[-1].response
        # The provider has seen all of it.
        words = len("What is a rill? And a brook?".split())
        assert second.usage.input_tokens >= response.usage.output_tokens + words


def test_a_warm_up_and_an_unknown_response(connect):
    with connect("chat") as connection:
        connection.response.create(model="mock", store=False, input="What is a rill?", generate=False)
        warm = heard(connection)[-1].response
        assert (warm.status, warm.output) == ("completed", [])
        connection.response.create(model="mock", store=False, input=[], previous_response_id=warm.id)
        assert heard(connection)[-1].response.output_text != ""
        connection.response.create(model="mock", store=False, input="x", previous_response_id="resp_0")
        error = heard(connection)[-1]
        assert error.type == "error" and "resp_0" in error.to_json()


def test_streams_side_by_side(connect):
    with connect("chat") as connection:
        for stream in ("a", "b"):
            connection.response.create(stream_id=stream, model="mock", store=False, input=f"Tell {stream}.")
        whole = {}
        for event in connection:
            assert event.stream_id in {"a", "b"}
            if event.type in LAST:
                whole[event.stream_id] = event.type
                if len(whole) == 2:
                    break
        assert whole == {"a": "response.completed", "b": "response.completed"}
