"""Reads what an upstream received, in its own dialect, back into the neutral words of `conversations`.

As strict as the providers are: a field of another dialect, an empty block, two turns of one role or arguments of the
wrong type are failures here, because they are a 400 there.
"""

import json
import re

from conversations import Ask, Image, Result, Tool, Turn
from speakers import MODEL, Call, Text, Thought

SAMPLING = {"temperature", "top_p"}
KNOWN = {
    "chat": SAMPLING
    | {"model", "messages", "tools", "tool_choice", "parallel_tool_calls", "max_completion_tokens", "max_tokens"}
    | {"stop", "response_format", "stream", "stream_options", "reasoning_effort", "seed", "user", "n"},
    "responses": SAMPLING
    | {"model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens", "text"}
    | {"stream", "store", "include", "reasoning", "user", "metadata"},
    "anthropic": SAMPLING
    | {"model", "messages", "system", "tools", "tool_choice", "max_tokens", "stop_sequences", "output_config"}
    | {"stream", "thinking", "metadata"},
    "gemini": {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"},
}
GEMINI_CONFIG = {"maxOutputTokens", "temperature", "topP", "stopSequences", "responseMimeType", "responseJsonSchema"}
GEMINI_CONFIG |= {"thinkingConfig", "seed", "candidateCount"}


def hear(dialect, body):
    assert body.keys() <= KNOWN[dialect], f"fields that {dialect} does not know: {body.keys() - KNOWN[dialect]}"
    assert dialect == "gemini" or body["model"] == MODEL
    asked = {"chat": _hear_chat, "responses": _hear_responses, "anthropic": _hear_anthropic, "gemini": _hear_gemini}
    return asked[dialect](body)


def _text(text):
    assert isinstance(text, str)
    assert text != "", "an empty text"
    return Text(text)


def _image(url):
    if url.startswith("data:"):
        kind, data = url.removeprefix("data:").split(",")
        mime, _, coding = kind.partition(";")
        assert coding == "base64"
        return Image(mime=mime, data=data)
    return Image(url=url)


def _object(text):
    assert isinstance(text, str), f"arguments are JSON text: {text!r}"
    arguments = json.loads(text)
    assert isinstance(arguments, dict)
    return arguments


def _turns(pairs):
    """Neighbours of one role together: (role, parts) pairs into turns."""
    turns = []
    for role, parts in pairs:
        if turns and turns[-1].role == role:
            turns[-1] = Turn(role, turns[-1].parts + tuple(parts))
        else:
            turns.append(Turn(role, tuple(parts)))
    return tuple(turns)


def _system(texts):
    return "\n\n".join(text for text in texts if text) or None


def _schema(form, holder):
    if form is None:
        return None
    assert form["type"] == "json_schema"
    held = form[holder] if holder else form
    return held["schema"]


def _hear_chat(body):
    def parts(content):
        if isinstance(content, str):
            return [_text(content)]
        return [
            _text(part["text"])
            if part["type"] == "text"
            else _image({"image_url": part.get("image_url")}[part["type"]]["url"])
            for part in content
        ]

    system, pairs, names = [], [], {}
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        assert message.keys() <= {"role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content"} | {
            "reasoning_details",
            "refusal",
        }
        match role:
            case "system" | "developer":
                system += [part.text for part in parts(content)]
            case "user":
                pairs.append(("user", parts(content)))
            case "assistant":
                said = parts(content) if content else []
                for call in message.get("tool_calls", []):
                    function = call["function"]
                    assert call["type"] == "function"
                    assert len(call["id"]) <= 40
                    assert call["id"] not in names, "each call has an id of its own"
                    names[call["id"]] = function["name"]
                    said.append(Call(call["id"], function["name"], _object(function["arguments"])))
                assert said, "an empty assistant message"
                pairs.append(("assistant", said))
            case "tool":
                id = message["tool_call_id"]
                result = parts(content)
                assert all(isinstance(part, Text) for part in result), "a tool message holds text only"
                pairs.append(("tools", [Result(id, names[id], tuple(result))]))
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        assert choice["type"] == "function"
        choice = choice["function"]["name"]
    assert not ("max_tokens" in body and "max_completion_tokens" in body)
    declared = [tool["function"] for tool in body.get("tools", []) if {"function": True}[tool["type"]]]
    stop = body.get("stop") or []
    return Ask(
        turns=_turns(pairs),
        system=_system(system),
        tools=tuple(Tool(t["name"], t["description"], t["parameters"]) for t in declared),
        choice=choice,
        parallel=body.get("parallel_tool_calls"),
        max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        schema=_schema(body.get("response_format"), "json_schema"),
    )


def _hear_responses(body):
    def parts(content, said):
        if isinstance(content, str):
            return [_text(content)]
        heard = []
        for part in content:
            if part["type"] == f"{said}_text":
                heard.append(_text(part["text"]))
            else:
                assert part["type"] == "input_image", part
                assert isinstance(part["image_url"], str), "an address, not an object"
                heard.append(_image(part["image_url"]))
        return heard

    system, pairs, names = [body.get("instructions")], [], {}
    items = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    for item in items:
        match item.get("type", "message"):
            case "message":
                role = item["role"]
                if role in ("system", "developer"):
                    system += [part.text for part in parts(item["content"], "input")]
                else:
                    pairs.append((role, parts(item["content"], "output" if role == "assistant" else "input")))
            case "function_call":
                assert len(item["call_id"]) <= 64
                assert item["call_id"] not in names, "each call has an id of its own"
                names[item["call_id"]] = item["name"]
                pairs.append(("assistant", [Call(item["call_id"], item["name"], _object(item["arguments"]))]))
            case "function_call_output":
                id = item["call_id"]
                pairs.append(("tools", [Result(id, names[id], tuple(parts(item["output"], "input")))]))
            case "reasoning":
                text = "".join(part["text"] for part in item["summary"])
                pairs.append(("assistant", [Thought(text, item.get("encrypted_content"))]))
            case other:
                raise AssertionError(f"an item of type {other}")
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        assert choice.keys() == {"type", "name"}
        assert choice["type"] == "function"
        choice = choice["name"]
    declared = [tool for tool in body.get("tools", []) if {"function": True}[tool["type"]]]
    return Ask(
        turns=_turns(pairs),
        system=_system(system),
        tools=tuple(Tool(t["name"], t["description"], t["parameters"]) for t in declared),
        choice=choice,
        parallel=body.get("parallel_tool_calls"),
        max_tokens=body.get("max_output_tokens"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        schema=_schema(body.get("text", {}).get("format"), None),
    )


def _hear_anthropic(body):
    names = {}

    def part_of(block):
        match block["type"]:
            case "text":
                return _text(block["text"])
            case "image":
                source = block["source"]
                if source["type"] == "url":
                    return Image(url=source["url"])
                assert source["type"] == "base64"
                return Image(mime=source["media_type"], data=source["data"])
            case "tool_use":
                assert isinstance(block["input"], dict), "the input is an object"
                assert re.fullmatch("[a-zA-Z0-9_-]+", block["id"]), block["id"]
                assert block["id"] not in names, "each call has an id of its own"
                names[block["id"]] = block["name"]
                return Call(block["id"], block["name"], block["input"])
            case "thinking":
                assert block["signature"], "thinking without its signature is refused"
                return Thought(block["thinking"], block["signature"])
            case "tool_result":
                id, content = block["tool_use_id"], block.get("content", [])
                blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
                return Result(id, names[id], tuple(map(part_of, blocks)), block.get("is_error", False))
        raise AssertionError(f"a block of type {block['type']}")

    turns, before = [], None
    for message in body["messages"]:
        role, content = message["role"], message["content"]
        assert role in ("user", "assistant"), role
        assert role != before, f"two {role} turns in a row"
        before = role
        heard = [_text(content)] if isinstance(content, str) else [part_of(block) for block in content]
        assert heard, "an empty turn"
        results = [part for part in heard if isinstance(part, Result)]
        assert heard[: len(results)] == results, "tool results come first in their turn"
        if results:
            turns.append(("tools", results))
        if rest := heard[len(results) :]:
            turns.append((role, rest))
    choice, parallel, asked = None, None, body.get("tool_choice")
    if asked is not None:
        assert asked.keys() <= {"type", "name", "disable_parallel_tool_use"}
        choice = {"auto": "auto", "none": "none", "any": "required", "tool": asked.get("name")}[asked["type"]]
        parallel = False if asked.get("disable_parallel_tool_use") else None
    system = body.get("system")
    assert isinstance(body["max_tokens"], int), "required, and a number"
    assert 0 <= body.get("temperature", 0) <= 1, "from 0 to 1"
    return Ask(
        turns=_turns(turns),
        system=system if isinstance(system, (str, type(None))) else _system(block["text"] for block in system),
        tools=tuple(Tool(t["name"], t["description"], t["input_schema"]) for t in body.get("tools", [])),
        choice=choice,
        parallel=parallel,
        max_tokens=body["max_tokens"],
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stop=tuple(body.get("stop_sequences", [])),
        schema=_schema(body.get("output_config", {}).get("format"), None),
    )


def _hear_gemini(body):
    def part_of(part):
        assert not ("thoughtSignature" in part and len(part) == 1)
        if "text" in part:
            if part["text"] == "" and "thoughtSignature" in part:
                return Thought("", part["thoughtSignature"])  # nothing to say, and signed: it is done that way
            return Thought(part["text"]) if part.get("thought") else _text(part["text"])
        if data := part.get("inlineData"):
            return Image(mime=data["mimeType"], data=data["data"])
        if file := part.get("fileData"):
            return Image(url=file["fileUri"])
        if call := part.get("functionCall"):
            assert isinstance(call["args"], dict), "args is an object"
            return Call("", call["name"], call["args"])
        given = part["functionResponse"]
        assert isinstance(given["response"], dict), "a response is an object"
        (kind, text), *more = given["response"].items()
        assert not more
        return Result("", given["name"], (_text(text),), kind == "error")

    turns = []
    for content in body["contents"]:
        heard = [part_of(part) for part in content["parts"]]
        assert heard, "an empty turn"
        for part in heard:
            kind = {"user": "user", "model": "assistant"}[content["role"]]
            turns.append(("tools" if isinstance(part, Result) else kind, [part]))
    choice, asked = None, body.get("toolConfig", {}).get("functionCallingConfig")
    if asked is not None:
        allowed = asked.get("allowedFunctionNames", [])
        assert len(allowed) <= 1
        choice = {"AUTO": "auto", "NONE": "none", "ANY": "required"}[asked["mode"]]
        choice = allowed[0] if allowed else choice
    declared = [tool for group in body.get("tools", []) for tool in group["functionDeclarations"]]
    config = body.get("generationConfig", {})
    assert config.keys() <= GEMINI_CONFIG, config.keys() - GEMINI_CONFIG
    schema = config.get("responseJsonSchema")
    assert schema is None or config["responseMimeType"] == "application/json"
    system = body.get("systemInstruction")
    return Ask(
        turns=_turns(turns),
        system=_system(part["text"] for part in system["parts"]) if system else None,
        tools=tuple(Tool(t["name"], t["description"], t["parametersJsonSchema"]) for t in declared),
        choice=choice,
        max_tokens=config.get("maxOutputTokens"),
        temperature=config.get("temperature"),
        top_p=config.get("topP"),
        stop=tuple(config.get("stopSequences", [])),
        schema=schema,
    )
