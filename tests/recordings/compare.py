"""What should have been read, what was, and the difference: up to what the client's dialect can say."""

import asyncio
import dataclasses
import json
import re

import pytest

import oracle

AT_ONCE = 24
WHOLE = {"message_stop", "response.completed", "response.incomplete"}


def differences(expected, got, dialect, mark=""):
    """What a client of that dialect should have read and did not."""
    found = []

    def same(what, should, did):
        if should != did:
            at = next((i for i, (a, b) in enumerate(zip(should, did)) if a != b), 0) if isinstance(did, str) else 0
            found.append(f"{what}: expected {should[max(0, at - 20) :]!r:.250}, got {did[max(0, at - 20) :]!r:.250}")

    if expected.finish in ("error", "truncated"):
        if got.finish != "error" or not got.error:
            found.append(f"it looks like {got.finish!r} ({got.error}), and was {expected.finish}: {expected.error}")
        elif expected.error and expected.error not in got.error:
            found.append(f"error: expected {expected.error!r}, got {got.error!r}")
        if dialect in ("plain", "gemini"):
            same("text", expected.text + expected.refusal, got.text)
        return found
    text = expected.text if dialect in ("openai-chat", "openai-responses") else expected.text + expected.refusal
    if dialect == "plain":
        same("text", re.sub("\r\n|\r", "\n", text), got.text)
        if got.finish != "natural":
            found.append(f"no [DONE] but {got.finish}, {got.error}")
        return found
    same("text", text, got.text)
    same("reasoning", expected.reasoning, got.reasoning)
    if text == expected.text:
        same("refusal", expected.refusal, got.refusal)
    finishes = {expected.finish}
    if expected.finish == "paused":
        finishes = {"natural", "length", "paused"}
    if expected.refusal:
        finishes |= {"filter"}
    if mark == "tools":
        finishes |= {"natural", "tools"}
    if dialect == "gemini" and any(isinstance(call[1], str) for call in expected.tools):
        finishes |= {"natural", "filter"}  # the call that was cut short has no place there: STOP, or MALFORMED_…
    if got.finish not in finishes:
        found.append(f"finish: expected {' or '.join(finishes)}, got {got.finish}, {got.error}")
    if mark != "tools":
        found += calls(expected.tools, got.tools, dialect)
    should = dataclasses.replace(expected.usage or oracle.Usage(0, 0))
    did = got.usage or oracle.Usage(0, 0)
    if dialect == "anthropic":
        should.reasoning = did.reasoning and should.reasoning  # which may be left out
        if should.cached > should.input:  # as one counts it: there is no right way to tell that
            should.input, should.cached = did.input, did.cached
    if dialect == "gemini" and should.reasoning > should.output:  # likewise
        should.output, should.reasoning = did.output, did.reasoning
    if should != did:
        found.append(f"usage: expected {expected.usage}, got {got.usage}")
    return found


def calls(expected, got, dialect):
    """Names and arguments are the same, and so are ids, if they fit into the client's dialect."""
    if dialect == "gemini":  # it has no place for the arguments of a call that was cut short
        expected = [call for call in expected if not isinstance(call[1], str)]
    if [call[:2] for call in expected] != [call[:2] for call in got]:
        return [f"tools: expected {expected!r:.300}, got {got!r:.300}"]
    ids = [call[2] for call in got]
    if dialect == "gemini" and not any(ids):  # ids are optional there
        return []
    if None in ids or "" in ids or len(set(ids)) < len(ids):
        return [f"tools: ids are missing, or not unique: {ids}"]
    fits = re.compile(r"[A-Za-z0-9_-]{1,40}")
    pairs = [(a[2], b[2]) for a, b in zip(expected, got, strict=True) if a[2] and fits.fullmatch(a[2])]
    return [f"tools: expected id {should}, got {did}" for should, did in pairs if should != did]


def passed_on(recording, body):
    """What a client of the recording's own dialect got that is not the recording, payload by payload."""
    expected = recording.read()
    came = [data for _, data, _ in oracle.frames(body)]
    sent = []
    for event, data, error in oracle.frames(recording.body()):
        if error is not None or event == "error" or data == "[DONE]":
            break
        payload = json.loads(data.removesuffix("\n[DONE]"))
        if payload.get("error") or payload.get("type") == "error":
            break
        sent.append(data)
        if payload.get("type") in WHOLE:
            break
    if came[: len(sent)] != sent:
        at = next((i for i, (a, b) in enumerate(zip(sent, came)) if a != b), min(len(sent), len(came)))
        return [f"payload {at} of {len(sent)}: expected {sent[at]!r:.250}, got {came[at : at + 1]!r:.250}"]
    rest = came[len(sent) :]
    if expected.finish in ("error", "truncated"):
        got = oracle.read(recording.dialect, body)
        marks = [data for data in came if data and (data == "[DONE]" or any(f'"{end}"' in data for end in WHOLE))]
        lines = differences(expected, got, recording.dialect)
        return lines + [f"an error, and yet {mark!r:.100}" for mark in marks]
    if recording.dialect == "openai-chat" and rest != ["[DONE]"]:
        return [f"expected [DONE] at the end and nothing else, got {rest!r:.250}"]
    if rest and recording.dialect == "gemini":
        return [f"expected nothing more, got {rest!r:.250}"]
    return []


async def each(chosen, check):
    """Checks several at once; what failed, recording by recording."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(recording, model):
        async with gate:
            try:
                return await check(recording, model)
            except Exception as error:  # whatever one recording meets must not hide the others
                return [f"{type(error).__name__}: {error}"]

    found = await asyncio.gather(*(one(*pair) for pair in chosen))
    lines = [(model, line) for (_, model), lines in zip(chosen, found, strict=True) for line in lines]
    return [f"{model}: {line[:600]}" for model, line in lines]


def report(failures, chosen):
    """Fails with all that failed."""
    if failures:
        broken = len({failure.split(": ")[0] for failure in failures})
        pytest.fail(f"{broken} of {len(chosen)} recordings:\n" + "\n".join(failures), pytrace=False)
