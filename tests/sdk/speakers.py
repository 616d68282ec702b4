"""How an answer is spelled in each of the four upstream dialects: neutral parts in, payloads out.

Nothing here is shared with the server that is tested: the payloads are spelled after the providers' documentation and
recordings. A speaker makes the payloads one at a time, for tests that step through a stream; `payloads` makes all.
"""

import json
from dataclasses import dataclass, field

MODEL = "upstream-model"


# ---- what an answer is made of ----


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Thought:
    text: str
    signature: str | None = None


@dataclass(frozen=True)
class Call:
    id: str
    name: str
    arguments: dict = field(hash=False)


@dataclass(frozen=True)
class Refused:
    text: str


@dataclass(frozen=True)
class Usage:
    """Input counts what was cached, output what was reasoned."""

    input: int = 31
    output: int = 17
    cached: int = 0
    reasoned: int = 0


@dataclass(frozen=True)
class Answer:
    parts: tuple = ()
    finish: str = "stop"  # stop, length, tools, filter
    usage: Usage = Usage()


def pieces(text):
    """A text in pieces of a few characters, which together are the text."""
    return [text[at : at + 7] for at in range(0, len(text), 7)]


# ---- streams ----


class Chat:
    FINISH = {"stop": "stop", "length": "length", "tools": "tool_calls", "filter": "content_filter"}

    def __init__(self):
        self.calls = 0

    def _chunk(self, delta, finish=None):
        return {
            "id": "chatcmpl-up",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": MODEL,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    def start(self):
        return [self._chunk({"role": "assistant", "content": ""})]

    def text(self, piece):
        return [self._chunk({"content": piece})]

    def thought(self, piece):
        return [self._chunk({"reasoning_content": piece})]

    def sign(self, signature):
        detail = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1", "signature": signature}
        return [self._chunk({"reasoning_details": [detail]})]

    def call(self, call):
        self.calls += 1
        index = self.calls - 1
        function = {"name": call.name, "arguments": ""}
        yield self._chunk({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]})
        for piece in pieces(json.dumps(call.arguments)):
            yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def refuse(self, piece):
        return [self._chunk({"refusal": piece})]

    def end(self, finish, usage):
        counts = self._chunk({}) | {"choices": [], "usage": chat_usage(usage)}
        return [self._chunk({}, self.FINISH[finish]), counts, "[DONE]"]


class Responses:
    def __init__(self):
        self.output, self.number, self.open = [], 0, None

    def _event(self, kind, **more):
        self.number += 1
        return {"type": f"response.{kind}", "sequence_number": self.number - 1, **more}

    def _response(self, status, **more):
        return responses_whole(self.output if status != "in_progress" else [], status) | more

    def start(self):
        begun = self._response("in_progress")
        return [self._event("created", response=begun), self._event("in_progress", response=begun)]

    def _item(self, kind, make):
        """Opens an item of that kind, unless it is open already."""
        if self.open != kind:
            yield from self.close()
            self.open = kind
            self.output.append(make(len(self.output)))
            yield self._event("output_item.added", output_index=self._at, item=dict(self.output[-1]))

    @property
    def _at(self):
        return len(self.output) - 1

    def _part(self, kind, part):
        def make(at):
            return {"type": "message", "id": f"msg_{at}", "status": "in_progress", "role": "assistant", "content": []}

        for event in self._item(kind, make):
            yield event
            if event["type"] == "response.output_item.added":
                where = {"item_id": self.output[-1]["id"], "output_index": self._at, "content_index": 0}
                yield self._event("content_part.added", part=dict(part), **where)
                self.output[-1] |= {"content": [part]}

    def text(self, piece):
        yield from self._part("text", {"type": "output_text", "text": "", "annotations": [], "logprobs": []})
        item = self.output[-1]
        item["content"][0]["text"] += piece
        where = {"item_id": item["id"], "output_index": self._at, "content_index": 0}
        yield self._event("output_text.delta", delta=piece, logprobs=[], **where)

    def refuse(self, piece):
        yield from self._part("refusal", {"type": "refusal", "refusal": ""})
        item = self.output[-1]
        item["content"][0]["refusal"] += piece
        where = {"item_id": item["id"], "output_index": self._at, "content_index": 0}
        yield self._event("refusal.delta", delta=piece, **where)

    def thought(self, piece):
        for event in self._item("thought", lambda at: {"type": "reasoning", "id": f"rs_{at}", "summary": []}):
            yield event
            if event["type"] == "response.output_item.added":
                where = {"item_id": self.output[-1]["id"], "output_index": self._at, "summary_index": 0}
                yield self._event("reasoning_summary_part.added", part={"type": "summary_text", "text": ""}, **where)
                self.output[-1] |= {"summary": [{"type": "summary_text", "text": ""}]}
        item = self.output[-1]
        item["summary"][0]["text"] += piece
        where = {"item_id": item["id"], "output_index": self._at, "summary_index": 0}
        yield self._event("reasoning_summary_text.delta", delta=piece, **where)

    def sign(self, signature):
        yield from self._item("thought", lambda at: {"type": "reasoning", "id": f"rs_{at}", "summary": []})
        self.output[-1] |= {"encrypted_content": signature}

    def call(self, call):
        def make(at):
            item = {"type": "function_call", "id": f"fc_{at}", "call_id": call.id, "name": call.name}
            return item | {"arguments": "", "status": "in_progress"}

        yield from self.close()
        yield from self._item("call", make)
        for piece in pieces(json.dumps(call.arguments)):
            self.output[-1]["arguments"] += piece
            where = {"item_id": self.output[-1]["id"], "output_index": self._at}
            yield self._event("function_call_arguments.delta", delta=piece, **where)

    def close(self):
        if self.open is None:
            return
        kind, self.open, item = self.open, None, self.output[-1]
        where = {"item_id": item["id"], "output_index": self._at}
        if kind == "text":
            part = item["content"][0]
            yield self._event("output_text.done", text=part["text"], logprobs=[], content_index=0, **where)
            yield self._event("content_part.done", part=part, content_index=0, **where)
        elif kind == "refusal":
            part = item["content"][0]
            yield self._event("refusal.done", refusal=part["refusal"], content_index=0, **where)
            yield self._event("content_part.done", part=part, content_index=0, **where)
        elif kind == "thought" and item["summary"]:
            part = item["summary"][0]
            yield self._event("reasoning_summary_text.done", text=part["text"], summary_index=0, **where)
            yield self._event("reasoning_summary_part.done", part=part, summary_index=0, **where)
        elif kind == "call":
            yield self._event("function_call_arguments.done", arguments=item["arguments"], name=item["name"], **where)
        if kind != "thought":
            item["status"] = "completed"
        yield self._event("output_item.done", output_index=self._at, item=dict(item))

    def end(self, finish, usage):
        yield from self.close()
        status = "completed" if finish in ("stop", "tools") else "incomplete"
        yield self._event(status, response=responses_whole(self.output, status, finish, usage))


class Anthropic:
    FINISH = {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use", "filter": "refusal"}

    def __init__(self, usage=None):
        self.at, self.open, self.usage = -1, None, usage or Usage()

    def start(self):
        message = {"id": "msg_up", "type": "message", "role": "assistant", "model": MODEL, "content": []}
        message |= {"stop_reason": None, "stop_sequence": None, "usage": anthropic_usage(self.usage, output=1)}
        return [{"type": "message_start", "message": message}, {"type": "ping"}]

    def _block(self, kind, block):
        if self.open != kind:
            yield from self.close()
            self.at, self.open = self.at + 1, kind
            yield {"type": "content_block_start", "index": self.at, "content_block": block}

    def _delta(self, **delta):
        return {"type": "content_block_delta", "index": self.at, "delta": delta}

    def text(self, piece):
        yield from self._block("text", {"type": "text", "text": ""})
        yield self._delta(type="text_delta", text=piece)

    refuse = text

    def thought(self, piece):
        yield from self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        yield self._delta(type="thinking_delta", thinking=piece)

    def sign(self, signature):
        yield from self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        yield self._delta(type="signature_delta", signature=signature)
        yield from self.close()

    def call(self, call):
        yield from self.close()
        yield from self._block("call", {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
        yield self._delta(type="input_json_delta", partial_json="")
        for piece in pieces(json.dumps(call.arguments)) if call.arguments else []:
            yield self._delta(type="input_json_delta", partial_json=piece)
        yield from self.close()

    def close(self):
        if self.open is not None:
            self.open = None
            yield {"type": "content_block_stop", "index": self.at}

    def end(self, finish, usage):
        yield from self.close()
        delta = {"stop_reason": self.FINISH[finish], "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage.output}}
        yield {"type": "message_stop"}


class Gemini:
    FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tools": "STOP", "filter": "SAFETY"}

    def __init__(self):
        self.signature = None

    def _chunk(self, *parts, **more):
        candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
        return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "gem_up"} | more

    def start(self):
        return []

    def text(self, piece):
        return [self._chunk({"text": piece} | self._signed())]

    refuse = text

    def thought(self, piece):
        return [self._chunk({"text": piece, "thought": True})]

    def sign(self, signature):
        self.signature = signature  # goes with what comes next
        return []

    def call(self, call):
        return [self._chunk({"functionCall": {"name": call.name, "args": call.arguments}} | self._signed())]

    def _signed(self):
        signature, self.signature = self.signature, None
        return {"thoughtSignature": signature} if signature else {}

    def end(self, finish, usage):
        last = self._chunk({"text": ""} | self._signed(), usageMetadata=gemini_usage(usage))
        last["candidates"][0]["finishReason"] = self.FINISH[finish]
        return [last]


SPEAKERS = {"chat": Chat, "responses": Responses, "anthropic": Anthropic, "gemini": Gemini}


def payloads(dialect, answer):
    """An answer as the payloads of a stream."""
    speaker = Anthropic(answer.usage) if dialect == "anthropic" else SPEAKERS[dialect]()
    yield from speaker.start()
    for part in answer.parts:
        match part:
            case Text(text):
                for piece in pieces(text):
                    yield from speaker.text(piece)
            case Refused(text):
                for piece in pieces(text):
                    yield from speaker.refuse(piece)
            case Thought(text, signature):
                for piece in pieces(text):
                    yield from speaker.thought(piece)
                if signature:
                    yield from speaker.sign(signature)
            case Call():
                yield from speaker.call(part)
    yield from speaker.end(answer.finish, answer.usage)


# ---- usage, as each spells it ----


def chat_usage(usage):
    counts = {"prompt_tokens": usage.input, "completion_tokens": usage.output}
    counts["total_tokens"] = usage.input + usage.output
    counts["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    return counts | {"completion_tokens_details": {"reasoning_tokens": usage.reasoned}}


def responses_usage(usage):
    counts = {"input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached}}
    counts |= {"output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoned}}
    return counts | {"total_tokens": usage.input + usage.output}


def anthropic_usage(usage, output=None):
    counts = {"input_tokens": usage.input - usage.cached, "cache_read_input_tokens": usage.cached}
    return counts | {"cache_creation_input_tokens": 0, "output_tokens": usage.output if output is None else output}


def gemini_usage(usage):
    counts = {"promptTokenCount": usage.input, "candidatesTokenCount": usage.output - usage.reasoned}
    counts |= {"thoughtsTokenCount": usage.reasoned} if usage.reasoned else {}
    counts |= {"cachedContentTokenCount": usage.cached} if usage.cached else {}
    return counts | {"totalTokenCount": usage.input + usage.output}


def responses_whole(output, status, finish="stop", usage=None):
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(finish)
    return {
        "id": "resp_up",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "model": MODEL,
        "output": output,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": responses_usage(usage) if usage else None,
    }
