"""The official Python SDKs behind one face, so that one test asks them all the same and reads them all the same.

Each client has ways to ask (`WAYS`): the plain stream, the SDK's own accumulating helper, and the whole answer. What it
gave is a `Said`; `played_back` and `results` make the next turn from it as a user of that SDK would.
"""

import json
from dataclasses import dataclass, field

import anthropic
import openai
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types


@dataclass
class Said:
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    signature: str | bytes = ""
    calls: list = field(default_factory=list)  # (id, name, arguments)
    finish: object = None  # in the dialect's own word
    input: int = 0
    output: int = 0
    native: object = None


class Client:
    def __init__(self, url):
        self.url = url

    def user(self, text):
        return {"role": "user", "content": text}


class Chat(Client):
    NAME, WAYS = "chat", ["stream", "helper", "whole"]
    FINISH = {"stop": "stop", "tools": "tool_calls", "length": "length", "filter": "content_filter"}
    ERRORS = {503: openai.InternalServerError, 429: openai.RateLimitError, 502: openai.InternalServerError}
    ERROR = openai.APIError

    def __init__(self, url):
        self.sdk = openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0, timeout=60)

    def close(self):
        self.sdk.close()

    def tools(self, tools):
        return [
            {"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": schema}}
            for name, schema in tools
        ]

    def ask(self, model, turns, way, *, tools=(), think=False, seen=None):
        asked = {"model": model, "messages": turns}
        asked |= {"tools": self.tools(tools)} if tools else {}
        asked |= {"reasoning_effort": "medium"} if think else {}
        seen = [] if seen is None else seen
        usage = {"stream_options": {"include_usage": True}}
        if way == "whole":
            completion = self.sdk.chat.completions.create(**asked)
        elif way == "helper":
            with self.sdk.chat.completions.stream(**asked, **usage) as stream:
                seen.extend(event.chunk for event in stream if event.type == "chunk")
                try:
                    completion = stream.get_final_completion()
                except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
                    completion = stream.current_completion_snapshot  # not raised by the stream: it has come to its end
        else:
            for chunk in self.sdk.chat.completions.create(**asked, **usage, stream=True):
                seen.append(chunk)
            return self._added_up(seen)
        message, finish = completion.choices[0].message, completion.choices[0].finish_reason
        called = message.tool_calls or []
        calls = [(call.id, call.function.name, json.loads(call.function.arguments)) for call in called]
        details = getattr(message, "reasoning_details", None) or []
        return Said(
            text=message.content or "",
            reasoning=getattr(message, "reasoning_content", None) or "",
            refusal=message.refusal or "",
            signature="".join(detail.get("signature") or detail.get("data") or "" for detail in details),
            calls=calls,
            finish=finish,
            input=completion.usage.prompt_tokens,
            output=completion.usage.completion_tokens,
            native=message.model_dump(exclude_none=True, exclude={"parsed"}),
        )

    def _added_up(self, chunks):
        said, calls = Said(), {}
        for chunk in chunks:
            if chunk.usage:
                said.input, said.output = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
            for choice in chunk.choices:
                delta = choice.delta
                said.text += delta.content or ""
                said.reasoning += getattr(delta, "reasoning_content", None) or ""
                said.refusal += delta.refusal or ""
                if choice.finish_reason:
                    assert said.finish is None, "a second finish_reason"
                    said.finish = choice.finish_reason
                for detail in getattr(delta, "reasoning_details", None) or []:
                    said.signature += detail.get("signature") or detail.get("data") or ""
                for piece in delta.tool_calls or []:
                    call = calls.setdefault(piece.index, ["", "", ""])
                    for at, more in enumerate((piece.id, piece.function.name, piece.function.arguments)):
                        call[at] += more or ""
        assert list(calls) == list(range(len(calls)))
        said.calls = [(id, name, json.loads(arguments)) for id, name, arguments in calls.values()]
        said.native = {"role": "assistant", "content": said.text or None}
        if calls:
            said.native["tool_calls"] = [
                {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
                for id, name, arguments in calls.values()
            ]
        return said

    def played_back(self, said):
        return [said.native]

    def results(self, pairs):
        return [{"role": "tool", "tool_call_id": call[0], "content": text} for call, text in pairs]

    def piece_of(self, chunk):
        return chunk.choices[0].delta.content or "" if chunk.choices else ""

    def is_end(self, chunk):
        return any(choice.finish_reason for choice in chunk.choices)

    def is_error(self, chunk):
        return False  # the SDK raises


class Responses(Client):
    NAME, WAYS = "responses", ["stream", "helper", "whole"]
    FINISH = {"stop": "completed", "tools": "completed", "length": "max_output_tokens", "filter": "content_filter"}
    ERRORS = Chat.ERRORS
    ERROR = openai.APIError

    __init__, close = Chat.__init__, Chat.close

    def ask(self, model, turns, way, *, tools=(), think=False, seen=None):
        asked = {"model": model, "input": turns, "store": False}
        asked |= {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}} if think else {}
        if tools:
            asked["tools"] = [
                {"type": "function", "name": name, "description": f"Does {name}.", "parameters": schema}
                for name, schema in tools
            ]
        seen = [] if seen is None else seen
        if way == "whole":
            return self._read(self.sdk.responses.create(**asked))
        if way == "helper":
            with self.sdk.responses.stream(**asked) as stream:
                for event in stream:
                    seen.append(event)
                if seen[-1].type != "response.incomplete":
                    return self._read(stream.get_final_response())
        else:
            for event in self.sdk.responses.create(**asked, stream=True):
                seen.append(event)
        assert [event.sequence_number for event in seen] == list(range(len(seen)))
        assert seen[-1].type in ("response.completed", "response.incomplete"), "the SDK raises on any other end"
        said = self._read(seen[-1].response)
        if way == "stream":
            for kind, whole in (("output_text", said.text), ("refusal", said.refusal)):
                pieces = [event.delta for event in seen if event.type == f"response.{kind}.delta"]
                assert "".join(pieces) == whole, "what was streamed is what the response holds at the end"
        return said

    def _read(self, response):
        assert response.error is None
        said = Said(native=[item.to_dict() for item in response.output])
        said.finish = response.incomplete_details.reason if response.incomplete_details else response.status
        said.input, said.output = response.usage.input_tokens, response.usage.output_tokens
        assert response.usage.total_tokens == said.input + said.output
        for item in response.output:
            if item.type == "message":
                said.text += "".join(part.text for part in item.content if part.type == "output_text")
                said.refusal += "".join(part.refusal for part in item.content if part.type == "refusal")
            elif item.type == "reasoning":
                said.reasoning += "".join(part.text for part in item.summary)
                said.reasoning += "".join(part.text for part in item.content or [])
                said.signature += item.encrypted_content or ""
            elif item.type == "function_call":
                said.calls.append((item.call_id, item.name, json.loads(item.arguments)))
        return said

    def played_back(self, said):
        # What the parsing helpers add is theirs alone.
        return [{key: item[key] for key in item if key not in ("parsed_arguments", "status")} for item in said.native]

    def results(self, pairs):
        return [{"type": "function_call_output", "call_id": call[0], "output": text} for call, text in pairs]

    def piece_of(self, event):
        return event.delta if event.type == "response.output_text.delta" else ""

    def is_end(self, event):
        return event.type in ("response.completed", "response.incomplete", "response.output_item.done")

    def is_error(self, event):
        return event.type in ("error", "response.failed")


class Anthropic(Client):
    NAME, WAYS = "anthropic", ["stream", "helper", "whole"]
    FINISH = {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens", "filter": "refusal"}
    ERRORS = {503: anthropic.InternalServerError, 429: anthropic.RateLimitError, 502: anthropic.InternalServerError}
    ERROR = anthropic.APIStatusError

    def __init__(self, url):
        self.sdk = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0, timeout=60)

    close = Chat.close

    def tools(self, tools):
        return [{"name": name, "description": f"Does {name}.", "input_schema": schema} for name, schema in tools]

    def ask(self, model, turns, way, *, tools=(), think=False, seen=None):
        asked = {"model": model, "messages": turns, "max_tokens": 4096}
        asked |= {"tools": self.tools(tools)} if tools else {}
        asked |= {"thinking": {"type": "enabled", "budget_tokens": 1024}} if think else {}
        seen = [] if seen is None else seen
        if way == "whole":
            return self._read(self.sdk.messages.create(**asked))
        if way == "helper":
            with self.sdk.messages.stream(**asked) as stream:
                for event in stream:
                    seen.append(event)
                return self._read(stream.get_final_message())
        said, inputs = Said(native=[]), []
        for event in self.sdk.messages.create(**asked, stream=True):
            seen.append(event)
            match event.type:
                case "message_start":
                    self._count(said, event.message.usage)
                case "content_block_start":
                    assert event.index == len(said.native)
                    said.native.append(event.content_block.to_dict())
                    inputs.append("")
                case "content_block_delta":
                    block, delta = said.native[event.index], event.delta
                    if delta.type == "input_json_delta":
                        inputs[event.index] += delta.partial_json
                    else:
                        key = delta.type.removesuffix("_delta")
                        block[key] = block.get(key, "") + getattr(delta, key)
                case "message_delta":
                    said.finish = event.delta.stop_reason
                    self._count(said, event.usage)
        assert seen[-1].type == "message_stop"
        for block, text in zip(said.native, inputs, strict=True):
            if block["type"] == "tool_use":
                block["input"] = json.loads(text or "{}")
                said.calls.append((block["id"], block["name"], block["input"]))
            said.text += block.get("text", "")
            said.reasoning += block.get("thinking", "")
            said.signature += block.get("signature", "")
        return said

    def _read(self, message):
        said = Said(finish=message.stop_reason, native=[block.to_dict() for block in message.content])
        self._count(said, message.usage)
        for block in message.content:
            if block.type == "text":
                said.text += block.text
            elif block.type == "thinking":
                said.reasoning, said.signature = said.reasoning + block.thinking, said.signature + block.signature
            elif block.type == "tool_use":
                said.calls.append((block.id, block.name, block.input))
        return said

    @staticmethod
    def _count(said, usage):
        if usage.input_tokens is not None:
            cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
            said.input = usage.input_tokens + cached
        said.output = usage.output_tokens

    def played_back(self, said):
        return [{"role": "assistant", "content": said.native}]

    def results(self, pairs):
        blocks = [{"type": "tool_result", "tool_use_id": call[0], "content": text} for call, text in pairs]
        return [{"role": "user", "content": blocks}]

    def piece_of(self, event):
        text = event.type == "content_block_delta" and event.delta.type == "text_delta"
        return event.delta.text if text else ""

    def is_end(self, event):
        return event.type == "message_stop" or event.type == "message_delta" and event.delta.stop_reason is not None

    def is_error(self, event):
        return event.type == "error"


class Gemini(Client):
    NAME, WAYS = "gemini", ["stream", "whole"]
    FINISH = {"stop": "STOP", "tools": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}
    ERRORS = {503: genai_errors.ServerError, 429: genai_errors.ClientError, 502: genai_errors.ServerError}
    ERROR = genai_errors.APIError

    def __init__(self, url):
        options = genai_types.HttpOptions(base_url=url, api_version="v1beta", timeout=60_000)
        self.sdk = genai.Client(api_key="any", http_options=options)

    def close(self):
        self.sdk.close()

    def user(self, text):
        return {"role": "user", "parts": [{"text": text}]}

    def ask(self, model, turns, way, *, tools=(), think=False, seen=None):
        config = {"automatic_function_calling": {"disable": True}}
        config |= {"thinking_config": {"include_thoughts": True}} if think else {}
        if tools:
            declared = [{"name": n, "description": f"Does {n}.", "parameters_json_schema": s} for n, s in tools]
            config["tools"] = [{"function_declarations": declared}]
        asked = {"model": model, "contents": turns, "config": config}
        seen = [] if seen is None else seen
        if way == "whole":
            seen.append(self.sdk.models.generate_content(**asked))
        else:
            for chunk in self.sdk.models.generate_content_stream(**asked):
                seen.append(chunk)
        said = Said(native=[], signature=b"")
        for chunk in seen:
            if counts := chunk.usage_metadata:
                said.input = counts.prompt_token_count
                said.output = (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0)
            candidate = chunk.candidates[0]
            if candidate.finish_reason:
                said.finish = candidate.finish_reason.value
            for part in candidate.content.parts or [] if candidate.content else []:
                said.native.append(part)
                said.signature += part.thought_signature or b""
                if part.function_call:
                    said.calls.append((part.function_call.id, part.function_call.name, part.function_call.args))
                elif part.thought:
                    said.reasoning += part.text or ""
                else:
                    said.text += part.text or ""
        return said

    def played_back(self, said):
        return [{"role": "model", "parts": said.native}]

    def results(self, pairs):
        responses = [{"id": call[0], "name": call[1], "response": {"output": text}} for call, text in pairs]
        return [{"role": "user", "parts": [{"function_response": response} for response in responses]}]

    def piece_of(self, chunk):
        parts = chunk.candidates[0].content.parts or [] if chunk.candidates and chunk.candidates[0].content else []
        return "".join(part.text or "" for part in parts if not part.thought)

    def is_end(self, chunk):
        return bool(chunk.candidates and chunk.candidates[0].finish_reason)

    def is_error(self, chunk):
        return False  # the SDK raises


CLIENTS = {client.NAME: client for client in (Chat, Responses, Anthropic, Gemini)}
