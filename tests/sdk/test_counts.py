"""Counts of tokens through the SDKs that have them, in front of each dialect."""

import anthropic
import openai
import pytest
from google import genai

PROVIDERS = {"openai-chat": "/v1", "openai-responses": "/v1", "anthropic": "", "gemini": "/v1beta"}
TEXT = "three small words"


@pytest.fixture
def server(start):
    mock = start()
    config = ""
    for dialect, path in PROVIDERS.items():
        config += f'[providers.{dialect}]\ndialect = "{dialect}"\nbase_url = "{mock.url}{path}"\n'
        config += f'[[models]]\nname = "{dialect}"\ntargets = [{{ provider = "{dialect}", model = "mock" }}]\n'
    return start(config)


def of_anthropic(url, model):
    client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
    return client.messages.count_tokens(model=model, messages=[{"role": "user", "content": TEXT}]).input_tokens


def of_openai(url, model):
    client = openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0)
    return client.responses.input_tokens.count(model=model, input=TEXT).input_tokens


def of_gemini(url, model):
    client = genai.Client(api_key="any", http_options={"base_url": url})
    return client.models.count_tokens(model=model, contents=TEXT).total_tokens


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("count", [of_anthropic, of_openai, of_gemini])
def test_tokens_are_counted(server, count, provider):
    # The mock counts words; an estimate is higher.
    counted = count(server.url, provider)
    assert counted == 3 if provider != "openai-chat" else 3 < counted < 15
