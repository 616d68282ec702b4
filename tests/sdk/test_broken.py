"""An answer that broke raises in every official SDK, iterated as its documentation has it, with nothing of ours in between;
and who passes over the error meets a broken connection."""

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from fake_upstream import chunk
from harness import in_front_of

PROMPT = [{"role": "user", "content": "Hello"}]


def chat(url, model):
    with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as sdk:
        yield from sdk.chat.completions.create(model=model, messages=PROMPT, stream=True)


def responses(url, model):
    with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as sdk:
        yield from sdk.responses.create(model=model, input="Hello", stream=True)


def messages(url, model):
    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as sdk:
        yield from sdk.messages.create(model=model, messages=PROMPT, max_tokens=100, stream=True)


def gemini(url, model):
    with genai.Client(api_key="any", http_options={"base_url": url}) as sdk:
        yield from sdk.models.generate_content_stream(model=model, contents="Hello")


SDKS = {
    "chat": (chat, openai.APIError),
    "responses": (responses, openai.APIError),
    "messages": (messages, anthropic.APIStatusError),
    "gemini": (gemini, genai_errors.APIError),
}
every_sdk = pytest.mark.parametrize("name", SDKS)


@every_sdk
def test_a_cut_answer_raises_while_it_is_read(mock, name):
    read, error = SDKS[name]
    seen = []
    with pytest.raises(error) as caught:
        seen.extend(read(mock.url, "mock-break"))
    assert "connection broke" in str(caught.value), "the reason, and not only the break that follows"


@every_sdk
@pytest.mark.parametrize("reason", ["network_error", "abort", "moonlight"])
def test_an_answer_that_ended_for_no_good_reason_raises(start, upstream, name, reason):
    def script(exchange):
        exchange.start()
        exchange.say("half")
        exchange.event(chunk(finish=reason))
        exchange.event("[DONE]")
        exchange.end()

    upstream.answer(script)
    server = start(in_front_of(upstream.base_url))
    read, error = SDKS[name]
    with pytest.raises(error, match=f"`{reason}`"):
        list(read(server.url, "gpt-any"))


REQUESTS = {
    "plain": ("/stream", {"prompt": "Hello", "model": "mock-break"}),
    "chat": ("/v1/chat/completions", {"model": "mock-break", "messages": PROMPT, "stream": True}),
    "responses": ("/v1/responses", {"model": "mock-break", "input": "Hello", "stream": True}),
    "messages": ("/v1/messages", {"model": "mock-break", "messages": PROMPT, "max_tokens": 100, "stream": True}),
    "gemini": (
        "/v1beta/models/mock-break:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
    ),
}


@pytest.mark.parametrize("linger", [None, "5s"])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_client_that_knows_no_errors_meets_a_broken_connection(mock, name, linger):
    path, body = REQUESTS[name]
    headers = {"x-linger": linger} if linger else {}
    text = b""
    with (
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
        httpx.stream("POST", mock.url + path, json=body, headers=headers) as answer,
    ):
        for piece in answer.iter_bytes():
            text += piece
    assert b"connection broke" in text, "what came before the break is read"


@pytest.mark.parametrize("linger", [None, "5s"])
def test_gemini_s_error_comes_again_as_bare_json_in_a_piece_of_its_own(mock, linger):
    path, body = REQUESTS["gemini"]
    headers = {"x-linger": linger} if linger else {}
    pieces = []
    with (
        pytest.raises(httpx.RemoteProtocolError),
        httpx.stream("POST", mock.url + path, json=body, headers=headers) as answer,
    ):
        pieces.extend(answer.iter_raw())
    assert pieces[-1].startswith(b'{"error":{"code":'), pieces[-2:]
    assert b'data: {"error":' in pieces[-2]
