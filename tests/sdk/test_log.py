"""The log: one line per generation, with what an operator needs, and never a prompt or a key."""

import json

import httpx
import openai
import pytest

from fake_upstream import completion
from harness import in_front_of
from wire import Client

SECRETS = {"env": "sk-canary-from-the-environment-8471", "file": "sk-canary-from-a-file-3962", "header": "canary-header-5120"}
PROMPT = "canary-prompt-7733"
ANSWER = "canary-answer-9911"


def test_each_generation_leaves_one_line(start):
    server = start(env={"TOKENRILL_MOCK_TOKENS_PER_SECOND": "0"})
    expected = [
        ("mock", True, 200, "complete"),
        ("mock-think", True, 200, "complete"),
        ("mock", False, 200, "complete"),
        ("mock-break", True, 200, "upstream_reset"),
        ("mock-break", False, 502, "upstream_reset"),
        ("mock-error", True, 503, "upstream_refused"),
        ("mock-ratelimit", False, 429, "upstream_refused"),
    ]
    for number, (model, stream, status, ended) in enumerate(expected, 1):
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
        with Client(server.port, "POST", "/v1/chat/completions", body=body) as client:
            client.rest()
            request_id = client.response.header("x-request-id")
            assert client.response.status == status
        record = server.wait_records("generation", number)[-1]
        assert record["request_id"] == request_id
        assert record["route"] == "/v1/chat/completions"
        assert record["model"] == model
        assert record["provider"] == "mock"
        assert record["status"] == status
        assert record["ended"] == ended
        assert record["duration_ms"] >= 0
        if model == "mock-break" and stream:
            assert record["tokens"] == 10
        if ended == "complete":
            assert record["tokens"] > 20
            assert 0 <= record["ttft_ms"] <= record["duration_ms"]


def test_the_tokens_counted_are_the_frames_sent(start):
    server = start()
    with Client(server.port, "GET", "/stream?prompt=a&model=mock-fast") as client:
        *said, last = client.messages()
    assert last.done
    assert server.generation()["tokens"] == len(said)


def test_a_request_that_is_refused_leaves_one_line_too(start):
    server = start()
    with Client(server.port, "GET", "/stream?prompt=a&model=gpt-nobody") as client:
        client.rest()
        request_id = client.response.header("x-request-id")
    (record,) = server.wait_records("refused", 1)
    assert (record["request_id"], record["status"], record["code"]) == (request_id, 404, "model_not_found")
    assert server.records("generation") == []


def test_the_text_form_says_the_same(start):
    server = start(env={"TOKENRILL_LOG_FORMAT": "text"})
    with Client(server.port, "GET", "/stream?prompt=a&model=mock-fast", headers=[("x-request-id", "one-two")]) as client:
        client.rest()
    server.wait_line("ended=")
    (line,) = [line for line in server.log.splitlines() if " generation " in f" {line} "]
    for part in ("request_id=one-two", "model=mock-fast", "status=200", "ended=complete", "route=/stream"):
        assert part in line.replace('"', ""), line
    assert "\x1b" not in line, "no colours where no terminal is"


@pytest.mark.parametrize("level", ["info", "trace"])
def test_no_secret_and_no_prompt_is_ever_told(start, upstream, tmp_path, level):
    """Through success, refusal, a broken stream and a bad request, at any level of the log."""
    key_file = tmp_path / "key"
    key_file.write_text(SECRETS["file"] + "\n")
    config = in_front_of(
        upstream.base_url,
        provider=f'api_key_env = "UPSTREAM_KEY"\nheaders = {{ "x-secret" = "{SECRETS["header"]}" }}',
        models="""
[[models]]
name = "by-env"
targets = [{ provider = "up" }]
[[models]]
name = "by-file"
targets = [{ provider = "other" }]
""",
    )
    config += f'[providers.other]\ndialect = "openai-chat"\nbase_url = "{upstream.base_url}"\napi_key_file = "{key_file}"\n'
    config += f'[log]\nlevel = "{level}"\n'
    server = start(config, env={"UPSTREAM_KEY": SECRETS["env"]})

    def broken(exchange):
        exchange.start()
        exchange.say(ANSWER)
        exchange.reset()

    replies = []
    for model, key in (("by-env", SECRETS["env"]), ("by-file", SECRETS["file"])):
        with openai.OpenAI(base_url=server.url + "/v1", api_key="sk-canary-of-the-client", max_retries=0) as client:
            for script, stream in [
                (lambda e: e.reply(200, completion(ANSWER)), False),
                (lambda e: e.reply(500, {"error": {"message": "no"}}), True),
                (lambda e: e.reply(200, "<html>", content_type="text/html"), True),
                (lambda e: e.reset(), True),
                (broken, True),
            ]:
                upstream.answer(script)
                try:
                    messages = [{"role": "user", "content": PROMPT}]
                    answer = client.chat.completions.create(model=model, messages=messages, stream=stream)
                    replies.append(str(list(answer) if stream else answer))
                except openai.APIError as error:
                    replies.append(f"{error} {error.body} {error.request.headers.get('host')}")
                assert upstream.seen[-1].header("authorization") == f"Bearer {key}"
        replies.append(httpx.get(f"{server.url}/stream", params={"prompt": PROMPT, "model": "nobody"}).text)
        replies.append(httpx.post(f"{server.url}/stream", json={"prompt": [PROMPT], "model": model}).text)
        replies.append(httpx.get(f"{server.url}/v1/models").text)
    server.wait_records("generation", 10)
    told = server.log
    for secret in [*SECRETS.values(), "sk-canary-of-the-client"]:
        assert secret not in told
        assert not any(secret in reply for reply in replies)
    assert PROMPT not in told
    assert ANSWER not in told


def test_what_a_client_sends_can_t_forge_a_line(start):
    server = start(env={"TOKENRILL_LOG_FORMAT": "text"})
    body = {"prompt": "a", "model": "mock\n2026 INFO generation ended=complete\x1b[31m"}
    with Client(server.port, "POST", "/stream", body=body) as client:
        client.rest()
        assert client.response.status == 404
    server.wait_line("refused")
    assert "\x1b" not in server.log
    assert not any(line.startswith("2026 INFO") for line in server.log.splitlines()), json.dumps(server.log)
