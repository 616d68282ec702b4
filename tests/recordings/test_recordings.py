"""Every recorded stream, served by the real binary to a client of every dialect, says the same as the recording.

A test is one client dialect and one provider's recordings. Where there are no recordings, one test says so.
"""

import itertools

import pytest

import oracle
from readers import READERS
from compare import differences, each, passed_on, report
from replay import CUTS

HERE = (oracle.FOLDER / "index.tsv").exists()
STREAMS = oracle.recordings() if HERE else []
FOLDERS = sorted({recording.file.split("/")[0] for recording in STREAMS})

# What an SDK can't read, or reads otherwise, when it comes as its provider sent it: there the oracle stands alone.
UNREADABLE = {
    "bedrock-mantle/providers-bedrock-mantle-responses-chat-streams-through-the-responses-surface": "odd parts",
    "github-copilot/reasoning-roundtrip-streaming": "the response's id changes on the way",
    "github-copilot/reasoning-roundtrip-streaming-i1": "the response's id changes on the way",
    "github-copilot/vercel-github-copilot-id-rotation-1": "the response's id changes on the way",
    "openai/openai-responses-model-mcp-list-tools-stream-backfills-missing-results": "items that never end",
    "openai/background-mode-streaming-starting-after-vcr-i1": "no response.created",
    "openai/rust-genai-openai-resp-custom-grammar-tool": "an empty final output",
    "openai/rust-genai-openai-resp-custom-grammar-tool-1": "an empty final output",
    "openai/rust-genai-openai-resp-reasoning-summary-capture": "an empty final output",
    "openai/rust-genai-openai-resp-tools-completed-no-output-field": "no final output",
    "openai-chatgpt-backend/codex-tool-args-unicode-arguments-streaming": "an empty final output",
    "openai-chatgpt-backend/codex-behaviors-store-false-and-prompt-cache-fields-roundtrip": "an empty final output",
    "openai-chatgpt-backend/codex-sessions-reasoning-session-two-tool-calls-streaming": "an empty final output",
    "openrouter/openai-responses-raw-cot-stream-openrouter": "the final output in another order",
    "azure/vercel-azure-reasoning-encrypted-content-1": "several replies in one file",
    "openai/vercel-openai-reasoning-encrypted-content-1": "several replies in one file",
    "anthropic/streaming-gateway-message-delta-metadata": "[DONE]",
    "anthropic/vercel-anthropic-programmatic-tool-calling-1": "two replies in one file",
    "anthropic/anthropic-incomplete-partial-json-response": "no line end after the last event",
    "anthropic/anthropic-tool-use-response": "no line end after the last event",
    "groq/groq-model-web-search-tool-stream": "usage in x_groq only",
    "gpustack-llamabox/with-extended-thinking-gpustack-qwen3-streams-thinking-content-when-available": "`error:`",
    "mistral/mistral-hybrid-reasoning-streams-thinking-separately-from-content": "content that is text, then a list",
    "mistral/mistral-model-thinking-part-iter": "content that is text, then a list",
    "mistral/vercel-mistral-reasoning": "content that is a list",
    "openrouter/openrouter-stream-error": "a finish_reason before the error",
    "openrouter/tool-truncation-contract-matrix-streaming-gpt41-low-model": "the limit, in native_finish_reason only",
    "openrouter/openrouter-web-search-annotations-stream": "annotations without index",
    "openrouter/tools-streaming-variant-a": "no finish_reason; the name of a call again in each of its fragments",
    "openrouter/tools-streaming-variant-b": "no finish_reason",
    "snowflake/snowflake-model-streaming": "no finish_reason",
    "snowflake/snowflake-thinking-streaming": "no finish_reason, reasoning in reasoning_details",
    "xai/vercel-xai-tool-call": "completion_tokens without the reasoning",
    "xai/vercel-xai-tool-call-2": "completion_tokens without the reasoning",
    "writer/writer-async-streaming-chat-tool-call-request-legacy": "`type: null` in a call's later fragments",
    "writer/writer-async-streaming-chat-multiple-tool-call-requests-legacy": "`type: null` in a call's later fragments",
}


def of(folder, dialects):
    """The recordings of a folder, each with a cut: which one depends on both, so that all meet all."""
    chosen = []
    for number, recording in enumerate(STREAMS):
        if recording.file.split("/")[0] == folder and recording.dialect in dialects:
            cut = CUTS[(number + sum(map(len, dialects))) % len(CUTS)]
            chosen.append((recording, f"{recording.model}~{cut}"))
    return chosen


if not HERE:

    def test_there_are_no_recordings(capsys):
        with capsys.disabled():
            print(f"\nTHE RECORDINGS ARE NOT THERE: nothing was replayed, as there is no {oracle.FOLDER}/index.tsv")

else:

    @pytest.mark.parametrize("dialect", oracle.DIALECTS)
    def test_the_oracle_reads_as_the_sdk_does(direct, run, dialect):
        """Without the server in between: the official SDK, on what its provider sent, agrees with the oracle."""
        readable = [r for r in STREAMS if r.dialect == dialect and r.name not in UNREADABLE and r.mark != "raw"]
        readable = [r for r in readable if not r.file.startswith("excerpts/")]
        chosen = [(r, f"{r.model}~{cut}") for r, cut in zip(readable, itertools.cycle(CUTS))]

        async def check(recording, model):
            return differences(recording.read(), await READERS[dialect](direct, model), dialect, recording.mark)

        report(run(each(chosen, check)), chosen)

    @pytest.mark.parametrize("folder", FOLDERS)
    @pytest.mark.parametrize("dialect", READERS)
    def test_another_dialect_says_the_same(proxied, run, dialect, folder):
        others = [other for other in oracle.DIALECTS if other != dialect]
        chosen = [pair for pair in of(folder, others) if pair[0].mark != "raw"]

        async def check(recording, model):
            return differences(recording.read(), await READERS[dialect](proxied, model), dialect, recording.mark)

        report(run(each(chosen, check)), chosen)

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_the_same_dialect_is_passed_on_as_it_came(proxied, run, folder):
        chosen = of(folder, oracle.DIALECTS)

        async def check(recording, model):
            response = await proxied.raw(recording.dialect, model)
            if response.status_code != 200:
                return [f"HTTP {response.status_code}: {response.text}"]
            return passed_on(recording, response.content)

        report(run(each(chosen, check)), chosen)

    @pytest.mark.parametrize("dialect", READERS)
    def test_half_of_a_recording_never_looks_whole(proxied, run, dialect):
        """An upstream that breaks off within its answer, though its HTTP body ends as it should."""
        halves = {r: oracle.read_half(r.dialect, r.body()) for r in STREAMS if r.mark != "raw"}
        chosen = [(r, f"{r.model}~half") for r, said in halves.items() if said.finish in ("truncated", "error")]

        async def check(recording, model):
            if recording.dialect != dialect:
                return differences(halves[recording], await READERS[dialect](proxied, model), dialect)
            said = oracle.read(dialect, (await proxied.raw(dialect, model)).content)
            return [] if said.finish == "error" and said.error else [f"it looks like {said.finish} ({said.error})"]

        report(run(each(chosen, check)), chosen)
