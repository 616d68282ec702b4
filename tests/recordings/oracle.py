"""What each recorded stream says, read as simply as can be: the whole file at once, by the rules of each dialect.

Nothing here is shared with the server: what the server tells its clients is compared with this.
`python oracle.py [part of a name]` prints what it reads.
"""

import csv
import functools
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("TOKENRILL_RECORDINGS") or ROOT.parent / "shared/recordings")
ENDS = ("message_stop", "response.completed", "response.incomplete", "response.failed")
DIALECTS = ("openai-chat", "openai-responses", "anthropic", "gemini")

# Recordings that are unlike others, and what about them is checked less than usual:
#   raw    said to clients of their own dialect only
#   tools  holds calls that no other dialect has, so its tool calls may be told or left out
#   paused the model wants to be asked to go on, which other dialects can say as a natural end or as a limit
# The rest is here to be known: it is checked like any other.
SPECIAL = {
    # broken: each must end in an error
    "gpustack-llamabox/with-extended-thinking-gpustack-qwen3-streams-thinking-content-when-available": (
        "",
        "ends in an `error:` field instead of a payload, without finish reason and [DONE]",
    ),
    "groq/tool-use-failed-error-streaming": ("", "ends in `event: error`, then nothing"),
    "groq/tool-use-failed-error-streaming-with-text": ("", "ends in `event: error` after some text, then nothing"),
    "openrouter/openrouter-stream-error": ("", "`length` on every chunk, then an error beside choices, then [DONE]"),
    "openai/vercel-openai-error-1": ("", "`error` with a nested error, then response.failed"),
    "gemini/error-envelope-nonexistent-model-streaming-error-preserves-status-and-body": (
        "",
        "a refusal's JSON body as text/event-stream, without `data:`",
    ),
    "excerpts/gemini-midstream-503-bare-json-tail": ("", "STOP, then a bare JSON error over several lines"),
    "excerpts/anthropic-midstream-api-error-tail": ("", "begins within a block, ends in `event: error`"),
    "excerpts/anthropic-midstream-overloaded-event": ("", "nothing but `event: error`"),
    "excerpts/llamacpp-2025-error-field-tail": ("", "an `error:` field, then [DONE]"),
    "excerpts/vllm-200-error-then-done": ("", "an error and [DONE] in one frame: no blank line between them"),
    "excerpts/azure-async-filter-chunk": ("", "one chunk of a stream, a choice without delta: nothing ends it"),
    # no finish reason, yet whole: [DONE] follows the usage
    "openrouter/tools-streaming-variant-a": ("", "a tool call, usage, [DONE], but no finish_reason"),
    "openrouter/tools-streaming-variant-b": ("", "a tool call, usage, [DONE], but no finish_reason"),
    "snowflake/snowflake-model-streaming": ("", "never a finish_reason"),
    "snowflake/snowflake-thinking-streaming": ("", "never a finish_reason; reasoning in reasoning_details only"),
    # several choices: only the first is told to other dialects
    "llamacpp/response-shape-matrix-two-candidates-streaming": ("", "two choices, two usage chunks"),
    "mistral/terminal-metadata-matrix-streaming-mistral-small-tiny-plain-two": ("", "two choices"),
    "openai/chat-terminal-metadata-matrix-streaming-gpt-4o-mini-tiny-plain-two": ("", "two choices"),
    "writer/writer-async-streaming-chat-multiple-choices-legacy": ("", "two choices, no [DONE]"),
    # calls that only their own dialect has
    "openai/rust-genai-openai-resp-custom-grammar-tool": ("tools", "a custom tool call: free text as its input"),
    "openai/vercel-openai-apply-patch-tool-1": ("tools", "an apply_patch_call"),
    "openai/vercel-openai-local-shell-tool-1": ("tools", "a local_shell_call"),
    "openai/vercel-openai-mcp-tool-approval-1": ("tools", "an mcp_approval_request"),
    # tools that the provider runs: neither their calls nor their results are the answer's
    "anthropic/pause-turn-web-search-streaming-vcr": ("paused", "web searches, then pause_turn amid a call"),
    "anthropic/anthropic-native-tool-search-streaming": ("", "a tool search before the call of the tool found"),
    "openai/openai-native-tool-search-streaming": ("", "tool_search_call and its output before a function call"),
    "openai/agentgateway-stream-image": ("", "an image_generation_call, `keepalive` events, partial images"),
    "openai/openai-responses-model-mcp-list-tools-stream-backfills-missing-results": (
        "",
        "three mcp_list_tools, of which only one gets its output_item.done",
    ),
    "groq/groq-model-web-search-tool-stream": ("", "executed_tools, which are no tool calls; usage in x_groq only"),
    # pieces that belong together only in their own dialect
    "vertex/vercel-google-stream-tool-call-arguments": ("raw", "arguments in JSONPath pieces, sent on demand"),
    "vertex/vercel-google-stream-no-args-tool-call": ("raw", "arguments in JSONPath pieces"),
    "vertex/vercel-google-stream-tool-call-array-arguments-missing-terminal-function-call": (
        "raw",
        "arguments in JSONPath pieces, the last of them missing",
    ),
    "vertex/vercel-google-vertex-stream-tool-call-arguments-nested-1": ("raw", "arguments in JSONPath pieces"),
    "openai/vercel-openai-phase-1": ("raw", "most deltas were taken out by its source; two messages"),
    "excerpts/dashscope-glm-empty-string-tool-ids": ("skip", "three fragments of calls, no chunks"),
    # the rest
    "anthropic/vercel-anthropic-programmatic-tool-calling-1": ("", "two replies in one file: the first counts"),
    "azure/vercel-azure-reasoning-encrypted-content-1": ("", "several replies in one file: the first counts"),
    "openai/vercel-openai-reasoning-encrypted-content-1": ("", "several replies in one file: the first counts"),
    "openai/background-mode-streaming-starting-after-vcr-i1": ("", "resumed: begins at sequence_number 1"),
    "lmstudio/vercel-lmstudio-tool-call-1": ("", "arguments in `done` only, without a delta"),
    "minimax-via-opencode/rust-genai-opencode-go-minimax-stream": ("", "a ping after message_stop"),
    "anthropic/streaming-gateway-message-delta-metadata": ("", "[DONE] after message_stop"),
    "anthropic/raw-stream-capture-matrix-raw-exposes-stop-sequence": ("", "no content at all"),
    "gemini/native-output-with-builtin-tools-stream": ("", "toolCall and toolResponse parts; no candidatesTokenCount"),
}


@dataclass
class Usage:
    """Tokens: all input, all output, and of these the cached and the reasoning ones."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


@dataclass
class Reading:
    """What a stream says. `finish` is natural, length, tools, filter, paused, error or truncated."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tools: list = field(default_factory=list)  # (name, arguments, id or None); arguments that are no JSON stay text
    finish: str = "truncated"
    usage: Usage | None = None
    error: str | None = None


@dataclass(frozen=True)
class Recording:
    """One file of the collection."""

    file: str
    provider: str
    dialect: str

    @property
    def name(self):
        """Its path without the ending, as a key of `SPECIAL`."""
        return re.sub(r"\.(payloads\.jsonl|sse|json)$", "", self.file)

    @property
    def model(self):
        """The model's name that stands for it: its path, in characters that fit into a URL's path."""
        return self.name.replace("/", ".")

    @property
    def mark(self):
        """How it is special, if that changes what is checked."""
        return SPECIAL.get(self.name, ("", ""))[0]

    @functools.cache
    def body(self):
        """The bytes as the provider sent them; for files that hold the payloads alone, framed again. Of a picture's data
        the one letter that its trimming left is made base64."""
        raw = (FOLDER / self.file).read_bytes()
        raw = re.sub(rb'("(?:result|partial_image_b64)":)"i"', rb'\1"aQ=="', raw)
        if not self.file.endswith(".jsonl"):
            return raw
        out = []
        for line in filter(None, raw.split(b"\n")):
            kind = json.loads(line).get("type") if self.dialect in ("anthropic", "openai-responses") else None
            out.append((f"event: {kind}\n".encode() if kind else b"") + b"data: " + line + b"\n\n")
        if self.dialect == "openai-chat":
            out.append(b"data: [DONE]\n\n")
        return b"".join(out)

    @functools.cache
    def read(self):
        """What it says."""
        return read(self.dialect, self.body())


def recordings():
    """All recorded streams of the four dialects, in the index's order."""
    return [r for r in _index() if r.dialect in DIALECTS and r.file.endswith((".sse", ".jsonl")) and r.mark != "skip"]


def refusals():
    """All recorded error replies: (recording, of the dialect that was asked for; what the file holds)."""
    paths = (("/responses", "openai-responses"), ("/v1/messages", "anthropic"), ("enerateContent", "gemini"))
    for r in _index():
        if r.dialect == "http-error":
            reply = json.loads((FOLDER / r.file).read_text(encoding="utf-8"))
            dialect = next((dialect for path, dialect in paths if path in reply["url"]), "openai-chat")
            yield Recording(r.file, r.provider, dialect), reply


def _index():
    with (FOLDER / "index.tsv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield Recording(row["file"], row["provider"], row["dialect"])


def half(body):
    """The first half of a stream, which mostly ends amid an event."""
    return body[: len(body) // 2]


def read_half(dialect, body):
    """What the whole events of a stream's first half say."""
    return read(dialect, re.match(b"(.*(\r?\n){2})?", half(body), re.DOTALL)[0])


def frames(body):
    """(event, data, error) of each SSE frame, of which all may be None. A block that is no SSE but JSON is an error."""
    found = []
    for block in re.sub("\r\n|\r", "\n", body.decode()).split("\n\n"):
        if block.lstrip().startswith("{"):
            found.append((None, None, block))
            continue
        fields = {"event": [], "data": [], "error": []}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields.get(name, []).append(value.removeprefix(" "))
        event, data, error = ("\n".join(values) if values else None for values in fields.values())
        if data is not None or error is not None:
            found.append((event, data, error))
    return found


def read(dialect, body):
    """What a whole body of that dialect says, up to its end mark."""
    said = Reading()
    payloads, done = [], False
    for event, data, error in frames(body):
        if error is not None:
            said.error = error_message(error)
            break
        lines = data.split("\n") if "\n" in data and data.endswith("[DONE]") else [data]
        if lines[-1] == "[DONE]":
            done = True
            lines.pop()
        for line in lines:
            payload = json.loads(line)
            if dialect != "openai-responses" and (payload.get("error") or event == "error"):
                said.error = error_message(payload)
            payloads.append(payload)
        kind = payloads[-1].get("type") if payloads else None
        if said.error or done or kind in ENDS:
            break
    {"openai-chat": _chat, "openai-responses": _responses, "anthropic": _anthropic, "gemini": _gemini}[dialect](
        payloads, done, said
    )
    if said.error is not None:
        said.finish = "error"
    return said


def arguments(text):
    """A call's arguments: nothing and `null` are none; what is no JSON, as that of a call cut short, stays text."""
    try:
        return json.loads(text or "{}") or {}
    except ValueError:
        return text


def error_message(body):
    """The words of an error, however its provider spells it."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return body
    if isinstance(body, list):
        body = body[0]
    error = body.get("error") or body.get("detail") or body
    if isinstance(error, dict):
        error = error.get("message") or body.get("message") or json.dumps(body)
    return error


def _chat(chunks, done, said):
    calls, finish = {}, None
    for chunk in chunks:
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        if usage:
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
            reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
            said.usage = Usage(usage["prompt_tokens"], usage["completion_tokens"], cached or 0, reasoning or 0)
            if usage.get("total_tokens") == said.usage.input + said.usage.output + said.usage.reasoning:
                said.usage.output += said.usage.reasoning  # xAI counts it apart, as its total says
        for choice in chunk.get("choices") or []:
            if choice.get("index"):
                continue
            finish = choice.get("finish_reason") or finish
            if choice.get("native_finish_reason") == "max_output_tokens":
                finish = "length"
            delta = choice.get("delta") or {}
            said.refusal += delta.get("refusal") or ""
            details = "".join(d.get("text") or d.get("summary") or "" for d in delta.get("reasoning_details") or [])
            said.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or details
            if isinstance(delta.get("content"), list):
                for part in delta["content"]:
                    said.text += part.get("text") or ""
                    said.reasoning += "".join(thought["text"] for thought in part.get("thinking") or [])
            else:
                said.text += delta.get("content") or ""
            for call in delta.get("tool_calls") or []:
                whole = calls.setdefault(call["index"], {"id": None, "name": "", "arguments": ""})
                whole["id"] = whole["id"] or call.get("id")
                function = call.get("function") or {}
                whole["name"] = whole["name"] or function.get("name")
                whole["arguments"] += function.get("arguments") or ""
    said.tools = [(call["name"], arguments(call["arguments"]), call["id"]) for _, call in sorted(calls.items())]
    if not finish and done and said.usage:
        finish = "stop"
    finishes = {"length": "length", "content_filter": "filter", "error": "error", "abort": "error"}
    if finish:
        said.finish = finishes.get(finish, "tools" if calls else "natural")


def _responses(events, _done, said):
    calls = {}
    for event in events:
        kind, place = event["type"], event.get("output_index")
        if kind == "response.output_text.delta":
            said.text += event["delta"]
        elif kind == "response.refusal.delta":
            said.refusal += event["delta"]
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            said.reasoning += event["delta"]
        elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
            item = event["item"]
            calls[place] = (item["name"], arguments(item["arguments"]), item["call_id"])
        elif kind == "error":
            said.error = error_message(event)
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            response = event["response"]
            if usage := response.get("usage"):
                cached = (usage.get("input_tokens_details") or {}).get("cached_tokens")
                reasoning = (usage.get("output_tokens_details") or {}).get("reasoning_tokens")
                said.usage = Usage(usage["input_tokens"], usage["output_tokens"], cached or 0, reasoning or 0)
            if kind == "response.failed":
                said.error = said.error or error_message(response)
            elif kind == "response.incomplete":
                reason = response["incomplete_details"]["reason"]
                said.finish = {"max_output_tokens": "length", "content_filter": "filter"}[reason]
            else:
                said.finish = "tools" if calls else "natural"
    said.tools = [call for _, call in sorted(calls.items())]


def _anthropic(events, _done, said):
    usage, blocks, stop, ended = {}, {}, None, False
    for event in events:
        kind, delta = event["type"], event.get("delta") or {}
        if kind in ("message_start", "message_delta"):
            counts = event["message"]["usage"] if kind == "message_start" else event.get("usage") or {}
            usage |= {name: count for name, count in counts.items() if count is not None}
            stop = delta.get("stop_reason") or stop
        elif kind == "content_block_start":
            block = event["content_block"]
            blocks[event["index"]] = block | {"json": ""}
            said.text += block.get("text") or "" if block["type"] == "text" else ""
        elif kind == "content_block_delta":
            said.text += delta.get("text") or ""
            said.reasoning += delta.get("thinking") or ""
            if event["index"] in blocks:
                blocks[event["index"]]["json"] += delta.get("partial_json") or ""
        ended = ended or kind == "message_stop"
    calls = [block for block in blocks.values() if block["type"] == "tool_use"]
    said.tools = [(b["name"], arguments(b["json"]) if b["json"] else b["input"], b["id"]) for b in calls]
    if usage:
        cached = usage.get("cache_read_input_tokens", 0)
        total = usage["input_tokens"] + cached + usage.get("cache_creation_input_tokens", 0)
        reasoning = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
        said.usage = Usage(total, usage["output_tokens"], cached, reasoning)
    finishes = {"max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "filter"}
    finishes |= {"pause_turn": "paused", "tool_use": "tools", "end_turn": "natural", "stop_sequence": "natural"}
    if ended:
        said.finish = finishes[stop]


def _gemini(events, _done, said):
    finish = None
    for event in events:
        if counts := event.get("usageMetadata"):
            count = {name: value for name, value in counts.items() if isinstance(value, int)}.get
            thoughts = count("thoughtsTokenCount", 0)
            said.usage = Usage(
                count("promptTokenCount", 0) + count("toolUsePromptTokenCount", 0),
                count("candidatesTokenCount", 0) + thoughts,
                count("cachedContentTokenCount", 0),
                thoughts,
            )
        if (event.get("promptFeedback") or {}).get("blockReason"):
            finish = "SAFETY"
        for candidate in event.get("candidates") or []:
            if candidate.get("index"):
                continue
            finish = candidate.get("finishReason") or finish
            for part in (candidate.get("content") or {}).get("parts") or []:
                if part.get("thought"):
                    said.reasoning += part.get("text") or ""
                else:
                    said.text += part.get("text") or ""
                if call := part.get("functionCall"):
                    said.tools.append((call.get("name"), call.get("args") or {}, call.get("id")))
    faults = {"MALFORMED_FUNCTION_CALL": "error", "UNEXPECTED_TOOL_CALL": "error", "OTHER": "error"}
    natural = "tools" if said.tools else "natural"
    if finish:
        said.finish = ({"STOP": natural, "MAX_TOKENS": "length"} | faults).get(finish, "filter")


if __name__ == "__main__":
    for recording in recordings():
        if all(part in recording.name for part in sys.argv[1:]):
            reading = recording.read()
            calls = [(name, str(args)[:60], tool_id) for name, args, tool_id in reading.tools]
            print(f"{recording.file} [{recording.dialect}] {recording.mark}")
            print(f"    {reading.finish} {reading.usage} {calls} {reading.error or ''}")
            print(f"    {reading.text[:70]!r} {reading.reasoning[:50]!r} {reading.refusal[:50]!r}")
