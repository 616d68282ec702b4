"""A scripted upstream that speaks all four upstream dialects, by path, and remembers what it was asked.

`answer` is a script for `FakeUpstream.answer` that gives an answer in the dialect and the form, streamed or not, that
the request asks for; `stream` says payloads as they are. What an answer is made of is in `speakers`.
"""

import json

from fake_upstream import FakeUpstream
from speakers import MODEL, Answer, Anthropic, Call, Chat, Refused, Text, Thought, anthropic_usage, chat_usage, payloads

DIALECTS = ["chat", "responses", "anthropic", "gemini"]
CONFIG_NAME = {"chat": "openai-chat", "responses": "openai-responses", "anthropic": "anthropic", "gemini": "gemini"}
BASE_PATH = {"chat": "/v1", "responses": "/v1", "anthropic": "", "gemini": "/v1beta"}


def whole(dialect, answer):
    """An answer in one piece: what the stream of the same answer adds up to."""
    said = list(payloads(dialect, answer))
    if dialect == "responses":
        return said[-1]["response"]
    if dialect == "gemini":
        parts = [part for chunk in said for part in chunk["candidates"][0]["content"]["parts"]]
        last = said[-1]
        last["candidates"][0]["content"]["parts"] = [part for part in parts if part != {"text": ""}]
        return last
    if dialect == "anthropic":
        blocks = []
        for part in answer.parts:
            match part:
                case Text(text) | Refused(text):
                    blocks.append({"type": "text", "text": text})
                case Thought(text, signature):
                    blocks.append({"type": "thinking", "thinking": text, "signature": signature or ""})
                case Call(id, name, arguments):
                    blocks.append({"type": "tool_use", "id": id, "name": name, "input": arguments})
        message = said[0]["message"] | {"content": blocks, "usage": anthropic_usage(answer.usage)}
        return message | {"stop_reason": Anthropic.FINISH[answer.finish]}
    message = {"role": "assistant", "content": None, "refusal": None}
    for part in answer.parts:
        match part:
            case Text(text):
                message["content"] = (message["content"] or "") + text
            case Refused(text):
                message["refusal"] = text
            case Thought(text, signature):
                message["reasoning_content"] = text
                if signature:
                    detail = {"type": "reasoning.text", "text": text, "signature": signature, "index": 0}
                    message["reasoning_details"] = [detail | {"format": "anthropic-claude-v1"}]
            case Call(id, name, arguments):
                function = {"name": name, "arguments": json.dumps(arguments)}
                message.setdefault("tool_calls", []).append({"id": id, "type": "function", "function": function})
    choice = {"index": 0, "message": message, "finish_reason": Chat.FINISH[answer.finish]}
    completion = {"id": "chatcmpl-up", "object": "chat.completion", "created": 1700000000, "model": MODEL}
    return completion | {"choices": [choice], "usage": chat_usage(answer.usage)}


# ---- scripts ----


def frame(dialect, payload):
    """One payload as a frame of that dialect's stream."""
    data = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    if dialect == "gemini":
        return f"data: {data}\r\n\r\n"
    if dialect == "chat":
        return f"data: {data}\n\n"
    return f"event: {payload['type']}\ndata: {data}\n\n"


def dialect_of(exchange):
    """Which dialect's endpoint a request came to."""
    path = exchange.target.split("?")[0]
    for dialect, tail in (("chat", "/chat/completions"), ("responses", "/responses"), ("anthropic", "/v1/messages")):
        if path.endswith(tail):
            return dialect
    assert path.endswith((":generateContent", ":streamGenerateContent")), path
    return "gemini"


def wants_stream(exchange):
    if dialect_of(exchange) == "gemini":
        streamed = ":streamGenerateContent" in exchange.target
        assert not streamed or exchange.target.endswith("?alt=sse"), exchange.target
        return streamed
    return exchange.json().get("stream") is True


def stream(payloads_of, headers=()):
    """A script that streams payloads: given as they are, or as a function of the dialect."""

    def script(exchange):
        dialect = dialect_of(exchange)
        exchange.start(headers=headers)
        for payload in payloads_of(dialect) if callable(payloads_of) else payloads_of:
            exchange.piece(frame(dialect, payload))
        exchange.end()

    return script


def answer(*parts, headers=(), **more):
    """A script that gives an answer of these parts in the request's dialect, streamed if it asks for that."""
    said = Answer(parts, **more)

    def script(exchange):
        if wants_stream(exchange):
            stream(lambda dialect: payloads(dialect, said), headers)(exchange)
        else:
            exchange.reply(200, whole(dialect_of(exchange), said), headers=headers)

    return script


class Upstreams(FakeUpstream):
    """One upstream that speaks all four dialects, by path; `config` is a server in front of them."""

    def config(self, top=""):
        lines = [top]
        for dialect in DIALECTS:
            lines += [
                f"[providers.{dialect}]",
                f'dialect = "{CONFIG_NAME[dialect]}"',
                f'base_url = "http://127.0.0.1:{self.port}{BASE_PATH[dialect]}"',
                f'api_key_env = "KEY_OF_{dialect.upper()}"',
            ]
        for dialect in DIALECTS:
            target = f'{{ provider = "{dialect}", model = "{MODEL}" }}'
            lines += ["[[models]]", f'name = "via-{dialect}"', f"targets = [{target}]"]
        return "\n".join(lines) + "\n"

    @staticmethod
    def keys():
        return {f"KEY_OF_{dialect.upper()}": key_of(dialect) for dialect in DIALECTS}


def key_of(dialect):
    return f"key-for-{dialect}"
