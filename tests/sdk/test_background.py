"""OpenAI's background mode through its own SDK: create, poll, stream from any event, cancel, delete."""

import time

import openai
import pytest

DEADLINE = 30.0
UPSTREAMS = ["mock", "chat", "responses"]


def client_of(server, key="any"):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture
def serve(start):
    """serve(upstream) gives a client and a prefix of model names: the mock itself, or a server in front of it."""

    def make(upstream, pace="0"):
        mock = start(env={"TOKENRILL_MOCK_TOKENS_PER_SECOND": pace})
        if upstream == "mock":
            return client_of(mock)
        provider = f'[providers.up]\ndialect = "openai-{upstream}"\nbase_url = "{mock.url}/v1"\n'
        return client_of(start(provider + '[[models]]\nname = "*"\ntargets = [{ provider = "up" }]\n'))

    return make


def polled(client, response):
    """As OpenAI's guide has it."""
    until = time.monotonic() + DEADLINE
    while response.status in {"queued", "in_progress"}:
        assert time.monotonic() < until, f"still {response.status}"
        time.sleep(0.02)
        response = client.responses.retrieve(response.id)
    return response


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_create_and_poll(serve, upstream):
    client = serve(upstream)
    ask = {"model": "mock", "input": "What is a rill?"}
    created = client.responses.create(background=True, **ask)
    assert (created.status, created.background, created.output) == ("queued", True, [])
    background = polled(client, created)
    foreground = client.responses.create(**ask)
    assert (background.id, background.status, background.error) == (created.id, "completed", None)
    assert background.output_text == foreground.output_text != ""
    assert background.usage == foreground.usage


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_stream_is_resumed_after_every_event(serve, upstream):
    client = serve(upstream)
    stream = client.responses.create(model="mock", input="What is a rill?", background=True, stream=True)
    whole = list(stream)
    assert (whole[0].type, whole[-1].type) == ("response.created", "response.completed")
    assert [event.sequence_number for event in whole] == list(range(len(whole)))
    response_id = whole[0].response.id
    for at, event in enumerate(whole):
        rest = client.responses.retrieve(response_id, stream=True, starting_after=event.sequence_number)
        assert list(rest) == whole[at + 1 :], f"after {event.sequence_number}"
    assert list(client.responses.retrieve(response_id, stream=True)) == whole
    assert client.responses.retrieve(response_id).output == whole[-1].response.output


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_client_that_is_cut_off_at_every_event_hears_all_of_it_once(serve, upstream):
    client = serve(upstream, pace="200")
    heard, response_id = [], None
    while not heard or heard[-1].type != "response.completed":
        if response_id is None:
            stream = client.responses.create(model="mock", input="Hi", background=True, stream=True)
        else:
            stream = client.responses.retrieve(response_id, stream=True, starting_after=heard[-1].sequence_number)
        with stream:
            event = next(iter(stream))
        heard.append(event)
        response_id = response_id or event.response.id
    assert [event.sequence_number for event in heard] == list(range(len(heard)))
    said = "".join(event.delta for event in heard if event.type == "response.output_text.delta")
    assert said == heard[-1].response.output_text == client.responses.retrieve(response_id).output_text != ""


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_the_sdks_own_helper_goes_on_with_a_response(serve, upstream):
    client = serve(upstream)
    created = client.responses.create(model="mock", input="Hi", background=True)
    with client.responses.stream(response_id=created.id) as stream:
        final = stream.get_final_response()
    assert final.output_text == polled(client, created).output_text
    with client.responses.stream(response_id=created.id, starting_after=3) as stream:
        assert [event.sequence_number for event in stream][0] == 4


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_cancel(serve, upstream):
    client = serve(upstream)
    created = client.responses.create(model="mock-stall", input="Hi", background=True)
    cancelled = client.responses.cancel(created.id)
    assert (cancelled.id, cancelled.status) == (created.id, "cancelled")
    assert client.responses.cancel(created.id) == cancelled == client.responses.retrieve(created.id)
    done = polled(client, client.responses.create(model="mock", input="Hi", background=True))
    assert client.responses.cancel(done.id) == done


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_delete(serve, upstream):
    client = serve(upstream)
    created = client.responses.create(model="mock", input="Hi", background=True)
    client.responses.delete(created.id)
    for ask in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(openai.NotFoundError) as refused:
            ask(created.id)
        assert refused.value.code == "response_not_found"


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_what_goes_wrong_is_told_in_the_response(serve, upstream):
    client = serve(upstream)
    for model, code in [("mock-break", "server_error"), ("mock-ratelimit", "rate_limit_exceeded")]:
        failed = polled(client, client.responses.create(model=model, input="Hi", background=True))
        assert (failed.status, failed.error.code) == ("failed", code)
        assert failed.error.message
    incomplete = polled(client, client.responses.create(model="mock-length", input="Hi", background=True))
    assert (incomplete.status, incomplete.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_what_is_refused(mock):
    client = client_of(mock)
    with pytest.raises(openai.BadRequestError, match="store"):
        client.responses.create(model="mock", input="Hi", background=True, store=False)
    foreground = client.responses.create(model="mock", input="Hi")
    with pytest.raises(openai.NotFoundError, match="background"):
        client.responses.retrieve(foreground.id)
    created = client.responses.create(model="mock", input="Hi", background=True)
    with pytest.raises(openai.NotFoundError):
        client_of(mock, "another").responses.retrieve(created.id)
    with pytest.raises(openai.BadRequestError, match="such event"):
        polled(client, created)
        client.responses.retrieve(created.id, stream=True, starting_after=10_000)
