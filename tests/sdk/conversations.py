"""One conversation in neutral words, spelled as a client of each dialect and heard as an upstream of each dialect.

`spell` writes what a client sends. Its other half is `hearing.hear`, which reads what an upstream received: a request
that was translated is right if what was heard is what was meant.
"""

import json
from dataclasses import dataclass, field, replace

from speakers import Call, Text, Thought


@dataclass(frozen=True)
class Image:
    """By address, or by its bytes in base64."""

    url: str | None = None
    mime: str | None = None
    data: str | None = None


@dataclass(frozen=True)
class Result:
    id: str
    name: str
    parts: tuple
    error: bool = False


@dataclass(frozen=True)
class Turn:
    role: str  # user, assistant, tools
    parts: tuple


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    schema: dict = field(hash=False)


@dataclass(frozen=True)
class Ask:
    turns: tuple
    system: str | None = None
    tools: tuple = ()
    choice: str | None = None  # auto, none, required, or a tool's name
    parallel: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple = ()
    schema: dict | None = None


def user(*parts):
    return Turn("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def assistant(*parts):
    return Turn("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def tools(*results):
    return Turn("tools", results)


def given(**fields):
    return {name: value for name, value in fields.items() if value not in (None, (), [])}


# ---- as a client ----


def spell(dialect, ask, model):
    """The body that a client of that dialect sends."""
    return {"chat": _spell_chat, "responses": _spell_responses, "anthropic": _spell_anthropic, "gemini": _spell_gemini}[
        dialect
    ](ask, model)


def _data_url(image):
    return image.url or f"data:{image.mime};base64,{image.data}"


def _joined(parts):
    return "".join(part.text for part in parts)


def _spell_chat(ask, model):
    messages = [{"role": "system", "content": ask.system}] if ask.system else []

    def content(parts):
        if all(isinstance(part, Text) for part in parts):
            return _joined(parts)
        return [
            {"type": "text", "text": part.text}
            if isinstance(part, Text)
            else {"type": "image_url", "image_url": {"url": _data_url(part)}}
            for part in parts
        ]

    for turn in ask.turns:
        if turn.role == "tools":
            for result in turn.parts:
                messages.append({"role": "tool", "tool_call_id": result.id, "content": _joined(result.parts)})
        elif turn.role == "user":
            messages.append({"role": "user", "content": content(turn.parts)})
        else:
            calls = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
                for c in turn.parts
                if isinstance(c, Call)
            ]
            text = _joined(part for part in turn.parts if isinstance(part, Text))
            messages.append({"role": "assistant", "content": text or None} | given(tool_calls=calls))
    choice = ask.choice
    if choice not in (None, "auto", "none", "required"):
        choice = {"type": "function", "function": {"name": choice}}
    declared = [
        {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema}}
        for t in ask.tools
    ]
    form = {"type": "json_schema", "json_schema": {"name": "shape", "schema": ask.schema, "strict": True}}
    return {"model": model, "messages": messages} | given(
        tools=declared,
        tool_choice=choice,
        parallel_tool_calls=ask.parallel,
        max_completion_tokens=ask.max_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        stop=list(ask.stop),
        response_format=form if ask.schema else None,
    )


def _spell_responses(ask, model):
    items = []

    def part_of(part, said="input"):
        if isinstance(part, Text):
            return {"type": f"{said}_text", "text": part.text}
        return {"type": "input_image", "image_url": _data_url(part), "detail": "auto"}

    for turn in ask.turns:
        if turn.role == "user":
            items.append({"type": "message", "role": "user", "content": [part_of(part) for part in turn.parts]})
            continue
        for part in turn.parts:
            match part:
                case Text():
                    said = [part_of(part, "output")]
                    items.append({"type": "message", "role": "assistant", "content": said})
                case Call(id, name, arguments):
                    call = {"type": "function_call", "call_id": id, "name": name, "arguments": json.dumps(arguments)}
                    items.append(call)
                case Result(id, _, parts):
                    plain = all(isinstance(part, Text) for part in parts)
                    output = _joined(parts) if plain else [part_of(part) for part in parts]
                    items.append({"type": "function_call_output", "call_id": id, "output": output})
    choice = ask.choice
    if choice not in (None, "auto", "none", "required"):
        choice = {"type": "function", "name": choice}
    declared = [
        {"type": "function", "name": t.name, "description": t.description, "parameters": t.schema} for t in ask.tools
    ]
    form = {"format": {"type": "json_schema", "name": "shape", "schema": ask.schema, "strict": True}}
    return {"model": model, "input": items, "store": False} | given(
        instructions=ask.system,
        tools=declared,
        tool_choice=choice,
        parallel_tool_calls=ask.parallel,
        max_output_tokens=ask.max_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        text=form if ask.schema else None,
    )


def _spell_anthropic(ask, model):
    def block(part):
        match part:
            case Text(text):
                return {"type": "text", "text": text}
            case Image(url=None, mime=mime, data=data):
                return {"type": "image", "source": {"type": "base64", "media_type": mime, "data": data}}
            case Image(url=url):
                return {"type": "image", "source": {"type": "url", "url": url}}
            case Call(id, name, arguments):
                return {"type": "tool_use", "id": id, "name": name, "input": arguments}
            case Thought(text, signature):
                return {"type": "thinking", "thinking": text, "signature": signature}
            case Result(id, _, parts, error):
                result = {"type": "tool_result", "tool_use_id": id, "content": [block(part) for part in parts]}
                return result | ({"is_error": True} if error else {})

    roles = {"user": "user", "tools": "user", "assistant": "assistant"}
    messages = [{"role": roles[turn.role], "content": [block(part) for part in turn.parts]} for turn in ask.turns]
    choice = None
    if ask.choice is not None or ask.parallel is False:
        kinds = {None: "auto", "auto": "auto", "none": "none", "required": "any"}
        choice = {"type": kinds.get(ask.choice, "tool")}
        choice |= {"name": ask.choice} if choice["type"] == "tool" else {}
        choice |= {"disable_parallel_tool_use": True} if ask.parallel is False else {}
    declared = [{"name": t.name, "description": t.description, "input_schema": t.schema} for t in ask.tools]
    form = {"format": {"type": "json_schema", "schema": ask.schema}}
    return {"model": model, "messages": messages, "max_tokens": ask.max_tokens or 1024} | given(
        system=ask.system,
        tools=declared,
        tool_choice=choice,
        temperature=ask.temperature,
        top_p=ask.top_p,
        stop_sequences=list(ask.stop),
        output_config=form if ask.schema else None,
    )


def _spell_gemini(ask, _model):
    def part_of(part):
        match part:
            case Text(text):
                return {"text": text}
            case Image(url=None, mime=mime, data=data):
                return {"inlineData": {"mimeType": mime, "data": data}}
            case Image(url=url):
                return {"fileData": {"mimeType": "image/png", "fileUri": url}}
            case Call(_, name, arguments):
                return {"functionCall": {"name": name, "args": arguments}}
            case Result(_, name, parts):
                return {"functionResponse": {"name": name, "response": {"output": _joined(parts)}}}

    roles = {"user": "user", "tools": "user", "assistant": "model"}
    contents = [{"role": roles[turn.role], "parts": [part_of(part) for part in turn.parts]} for turn in ask.turns]
    calling = None
    if ask.choice is not None:
        calling = {"mode": {"auto": "AUTO", "none": "NONE"}.get(ask.choice, "ANY")}
        calling |= {"allowedFunctionNames": [ask.choice]} if ask.choice not in ("auto", "none", "required") else {}
    declared = [{"name": t.name, "description": t.description, "parametersJsonSchema": t.schema} for t in ask.tools]
    config = given(
        maxOutputTokens=ask.max_tokens,
        temperature=ask.temperature,
        topP=ask.top_p,
        stopSequences=list(ask.stop),
        responseMimeType="application/json" if ask.schema else None,
        responseJsonSchema=ask.schema,
    )
    return {"contents": contents} | given(
        systemInstruction={"parts": [{"text": ask.system}]} if ask.system else None,
        tools=[{"functionDeclarations": declared}] if declared else None,
        toolConfig={"functionCallingConfig": calling} if calling else None,
        generationConfig=config or None,
    )


def endpoint(dialect, model, streamed):
    """Where a client of that dialect posts."""
    if dialect == "gemini":
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if streamed else "generateContent")
    return {"chat": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}[dialect]


def without_ids(ask):
    """The same where a dialect knows calls by name alone."""

    def bare(part):
        return replace(part, id="") if isinstance(part, (Call, Result)) else part

    turns = tuple(Turn(turn.role, tuple(bare(part) for part in turn.parts)) for turn in ask.turns)
    return replace(ask, turns=turns)


