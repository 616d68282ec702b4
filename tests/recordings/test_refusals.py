"""Every recorded error reply, as a client of every dialect sees it: its own kind of body, the upstream's words, and the
exception that its SDK has for that status."""

import anthropic
import openai
import pytest
from google import genai

import oracle
from compare import each, report
from readers import MESSAGES, PROMPT, READERS

HERE = (oracle.FOLDER / "index.tsv").exists()
REPLIES = dict(oracle.refusals()) if HERE else {}

KINDS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
}


def statuses(recording, status, dialect):
    """The upstream's status. To another dialect a refused key, which is the proxy's, and an upstream's breakdown may be
    told as a bad gateway."""
    return {status, 502} if recording.dialect != dialect and status in (401, 403, 500) else {status}


async def ask(clients, dialect, model):
    """(status, body's bytes, the SDK's exception or None) of a refused request."""
    try:
        if dialect == "openai-chat":
            await clients.openai.chat.completions.create(model=model, messages=MESSAGES, stream=True)
        elif dialect == "openai-responses":
            await clients.openai.responses.create(model=model, input=PROMPT, stream=True)
        elif dialect == "anthropic":
            async with clients.anthropic.messages.stream(model=model, messages=MESSAGES, max_tokens=9000):
                pass
        else:
            response, error = await clients.raw(dialect, model), None
            if dialect == "gemini":  # whose SDK keeps no body
                try:
                    async for _ in await clients.gemini.models.generate_content_stream(model=model, contents=PROMPT):
                        pass
                except genai.errors.APIError as raised:
                    error = raised
                assert error is not None, "the SDK raised nothing"
            return response.status_code, response, error
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return error.status_code, error.response, error
    raise AssertionError("the SDK raised nothing")


def shape(dialect, status, body):
    """What is wrong with an error body of that dialect, and the message in it."""
    error = body.get("error")
    if not isinstance(error, dict):
        return [f"no error object in {body}"], ""
    lines = []
    if dialect == "anthropic" and body.get("type") != "error":
        lines.append(f"`type` is not `error` in {body}")
    if dialect == "gemini" and (error.get("code") != status or not isinstance(error.get("status"), str)):
        lines.append(f"no `code` {status} and `status` in {body}")
    if dialect != "gemini" and not isinstance(error.get("type"), str):
        lines.append(f"no `type` of the error in {body}")
    if dialect in ("openai-chat", "openai-responses") and not {"param", "code"} <= set(error):
        lines.append(f"no `param` or `code` in {body}")
    return lines, error.get("message") or ""


async def check(clients, dialect, recording, model):
    """What is wrong with what a client of that dialect gets for that reply."""
    reply = REPLIES[recording]
    status, response, error = await ask(clients, dialect, model)
    lines = []
    if status not in statuses(recording, reply["status"], dialect):
        lines.append(f"status {status}, upstream's was {reply['status']}")
    if not response.headers["content-type"].startswith("application/json"):
        lines.append(f"content-type {response.headers['content-type']}")
    kind = KINDS.get(status, "InternalServerError")
    if dialect == "gemini":
        kind = "ClientError" if status < 500 else "ServerError"
    if error is not None and type(error).__name__ != kind:
        lines.append(f"the SDK raised {type(error).__name__}, not {kind}")
    should = oracle.error_message(reply["body"])
    if recording.dialect == dialect and response.content == reply["body"].encode():
        return lines  # the upstream's own body, byte by byte
    wrong, message = shape(dialect, status, response.json())
    if should not in message:
        lines.append(f"expected the message {should!r:.200}, got {message!r:.200}")
    return lines + wrong


if HERE:

    @pytest.mark.parametrize("dialect", READERS)
    def test_a_refusal_is_told_in_the_clients_dialect(proxied, run, dialect):
        chosen = [(recording, f"{recording.model}~whole") for recording in REPLIES]

        async def one(recording, model):
            return await check(proxied, dialect, recording, model)

        report(run(each(chosen, one)), chosen)
