"""Clients' keys, as the official SDKs see them: the exceptions that they have for a wrong key and for a model that a key
may not use, and the models that it may."""

import os
import subprocess

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from harness import BINARY, Server

MESSAGES = [{"role": "user", "content": "Say something."}]


@pytest.fixture
def keyed(tmp_path):
    """A server with a key for `mock-echo` alone, and that key."""
    (tmp_path / "tokenrill.toml").write_text('[auth]\nkeys_file = "keys.toml"\n')
    new = [BINARY, "keys", "new", "--name", "sdk", "--models", "mock-echo"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOKENRILL_")}
    made = subprocess.run(new, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    key = made.stdout.strip()
    server = Server(tmp_path)
    yield server, key
    assert key not in server.log
    server.stop()


def of_openai(server, key, model):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=60)
    return client.chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content


def of_anthropic(server, key, model):
    client = anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0, timeout=60)
    return client.messages.create(model=model, max_tokens=99, messages=MESSAGES).content[0].text


def of_google(server, key, model):
    client = genai.Client(api_key=key, http_options={"base_url": server.url, "timeout": 60_000})
    return client.models.generate_content(model=model, contents="Say something.").text


@pytest.mark.parametrize(
    ("ask", "unauthenticated", "forbidden"),
    [
        (of_openai, openai.AuthenticationError, openai.PermissionDeniedError),
        (of_anthropic, anthropic.AuthenticationError, anthropic.PermissionDeniedError),
        (of_google, genai_errors.ClientError, genai_errors.ClientError),
    ],
    ids=["openai", "anthropic", "google"],
)
def test_each_sdk_raises_its_own_exception(keyed, ask, unauthenticated, forbidden):
    server, key = keyed
    assert "Say something." in ask(server, key, "mock-echo")
    with pytest.raises(unauthenticated) as wrong:
        ask(server, "sk-wrong", "mock-echo")
    with pytest.raises(forbidden) as other:
        ask(server, key, "mock-fast")
    assert "not valid" in str(wrong.value)
    assert "mock-fast" in str(other.value) and "mock-echo" in str(other.value)
    if ask is of_google:
        assert (wrong.value.code, other.value.code) == (401, 403)


def test_an_sdk_lists_the_models_of_its_key(keyed):
    server, key = keyed
    client = openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=60)
    assert [model.id for model in client.models.list()] == ["mock-echo"]
