"""Reads an answer as a client of each dialect does, mostly with the official SDKs, into the words of the oracle.

Each reader is `async (clients, model) -> Reading`. An exception that the SDK has for it becomes the reading's `error`;
what no SDK should ever meet (events out of order, items that never end) is raised as an AssertionError.
"""

import json

import anthropic
import httpx
import openai
from google import genai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState

import oracle
from oracle import Reading, Usage

PROMPT = "Say it again."
MESSAGES = [{"role": "user", "content": PROMPT}]
TIMEOUT = 120
PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    "plain": "/stream",
}


class Clients:
    """The SDKs' clients for one server."""

    def __init__(self, url):
        self.openai = openai.AsyncOpenAI(base_url=url + "/v1", api_key="any", timeout=TIMEOUT, max_retries=0)
        self.anthropic = anthropic.AsyncAnthropic(base_url=url, api_key="any", timeout=TIMEOUT, max_retries=0)
        # This SDK keeps the connection of a stream that it raises an error for: there must be enough of them.
        options = {"base_url": url, "timeout": TIMEOUT * 1000, "async_client_args": {"limits": httpx.Limits()}}
        self.gemini = genai.Client(api_key="any", http_options=options).aio
        self.http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False)

    async def close(self):
        await self.openai.close()
        await self.anthropic.close()
        await self.gemini.aclose()
        await self.http.aclose()

    async def raw(self, dialect, model):
        """The response to the simplest request of that dialect."""
        body = {"model": model, "stream": True}
        body |= {
            "openai-chat": {"messages": MESSAGES, "stream_options": {"include_usage": True}},
            "openai-responses": {"input": PROMPT},
            "anthropic": {"messages": MESSAGES, "max_tokens": 9000},
            "gemini": {},
            "plain": {"prompt": PROMPT},
        }[dialect]
        if dialect == "gemini":
            body = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
        if dialect == "plain":
            del body["stream"]
        received = bytearray()
        async with self.http.stream("POST", PATHS[dialect].format(model=model), json=body) as response:
            try:
                async for chunk in response.aiter_raw():
                    received += chunk
            except httpx.RemoteProtocolError:
                # After an error a body breaks off.
                pass
        response._content = bytes(received)
        return response


async def chat(clients, model):
    """OpenAI's SDK, Chat Completions, and its accumulator."""
    state, reasoning, usage, chunks = ChatCompletionStreamState(), "", None, 0
    try:
        options = {"include_usage": True}
        stream = await clients.openai.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options=options
        )
        async with stream:
            async for chunk in stream:
                state.handle_chunk(chunk)
                chunks += 1
                for choice in (choice for choice in chunk.choices if choice.index == 0 and choice.delta):
                    extra = choice.delta.model_extra or {}
                    reasoning += extra.get("reasoning_content") or extra.get("reasoning") or ""
                usage = chunk.usage or usage
    except openai.APIStatusError as error:
        return Reading(finish="error", error=f"HTTP {error.status_code}: {error}")
    except openai.APIError as error:
        finish = chunks and any(choice.finish_reason for choice in state.current_completion_snapshot.choices)
        assert not finish, "a finish_reason, and then an error"
        return Reading(finish="error", error=error.message, reasoning=reasoning)
    assert chunks, "an empty stream"
    choice = state.current_completion_snapshot.choices[0]
    said = Reading(text=choice.message.content or "", reasoning=reasoning, refusal=choice.message.refusal or "")
    calls = choice.message.tool_calls or []
    said.tools = [(call.function.name, oracle.arguments(call.function.arguments), call.id) for call in calls]
    finishes = {"stop": "natural", "length": "length", "tool_calls": "tools", "content_filter": "filter"}
    said.finish = finishes[choice.finish_reason] if choice.finish_reason else "truncated"
    if usage:
        cached = usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens
        thought = usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens
        said.usage = Usage(usage.prompt_tokens, usage.completion_tokens, cached or 0, thought or 0)
    return said


async def responses(clients, model):
    """OpenAI's SDK, Responses, its accumulator, and what the order of events promises."""
    state, events = ResponseStreamState(input_tools=openai.omit, text_format=openai.omit), []
    error = None
    try:
        async with await clients.openai.responses.create(model=model, input=PROMPT, stream=True) as stream:
            async for event in stream:
                events.append(event)
                if event.type == "error":
                    error = event.message
                elif not error:
                    state.handle_event(event)
    except openai.APIStatusError as failure:
        return Reading(finish="error", error=f"HTTP {failure.status_code}: {failure}")
    except openai.APIError as failure:
        error = failure.message
    numbers = [event.sequence_number for event in events]
    assert numbers == list(range(len(numbers))), f"sequence_number is not contiguous from 0: {numbers[:20]}"
    kinds = [event.type for event in events]
    ends = [k for k in kinds if k in ("response.completed", "response.incomplete", "response.failed")]
    if error or "response.failed" in ends:
        assert ends in ([], ["response.failed"]), f"an error, and yet {ends}"
        return Reading(finish="error", error=error or events[-1].response.error.message)
    if not ends:
        return Reading()
    assert kinds[-1:] == ends, f"the end is not the end: {kinds[-3:]}"
    _pair(events)
    return _response(events[-1].response, events)


def _pair(events):
    """Items and their parts begin, go on and end, each once and within one another."""
    items, parts, closed = {}, set(), set()
    for event in events:
        place = (getattr(event, "output_index", None), getattr(event, "content_index", None))
        if event.type == "response.output_item.added":
            assert event.output_index not in items, f"item {event.output_index} begins twice"
            items[event.output_index] = event.item
        elif event.type == "response.output_item.done":
            assert event.output_index in items, f"item {event.output_index} ends before it began"
            assert event.output_index not in closed, f"item {event.output_index} ends twice"
            assert event.item.id == items[event.output_index].id, "an item's id changes"
            assert not any(part[0] == event.output_index for part in parts), "an item ends before its part"
            closed.add(event.output_index)
        elif event.type == "response.content_part.added":
            assert place not in parts, f"part {place} begins twice"
            parts.add(place)
        elif event.type == "response.content_part.done":
            parts.remove(place)
        elif event.type == "response.output_text.delta":
            assert place in parts, f"text for part {place}, which is not open"
        if place[0] is not None and not event.type.startswith("response.output_item"):
            assert place[0] in items and place[0] not in closed, f"{event.type} for an item that is not open"
    assert closed == set(items), f"items {set(items) - closed} never end"


def _response(response, events):
    """The final object, which must hold what the deltas said."""

    def deltas(*kinds):
        return "".join(event.delta for event in events if event.type in kinds)

    said = Reading()
    for item in response.output:
        if item.type == "message":
            said.text += "".join(part.text for part in item.content if part.type == "output_text")
            said.refusal += "".join(part.refusal for part in item.content if part.type == "refusal")
        elif item.type == "reasoning":
            said.reasoning += "".join(part.text for part in [*item.summary, *(item.content or [])])
        elif item.type == "function_call":
            said.tools.append((item.name, oracle.arguments(item.arguments), item.call_id))
    done = [event.item.id for event in events if event.type == "response.output_item.done"]
    assert [item.id for item in response.output] == done, "the final output holds other items than were sent"
    assert said.text == deltas("response.output_text.delta"), "the final text is not the deltas'"
    assert said.refusal == deltas("response.refusal.delta"), "the final refusal is not the deltas'"
    thoughts = deltas("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
    assert said.reasoning == thoughts, "the final reasoning is not the deltas'"
    if usage := response.usage:
        cached, thought = usage.input_tokens_details, usage.output_tokens_details
        said.usage = Usage(usage.input_tokens, usage.output_tokens)
        said.usage.cached = (cached and cached.cached_tokens) or 0
        said.usage.reasoning = (thought and thought.reasoning_tokens) or 0
    if response.status == "incomplete":
        reason = response.incomplete_details.reason
        said.finish = {"max_output_tokens": "length", "content_filter": "filter"}[reason]
    elif response.status == "completed":
        said.finish = "tools" if said.tools else "natural"
    return said


async def messages(clients, model):
    """Anthropic's SDK and its accumulator."""
    blocks, opened, ended = {}, None, False
    try:
        async with clients.anthropic.messages.stream(model=model, messages=MESSAGES, max_tokens=9000) as stream:
            async for event in stream:
                assert not ended, f"{event.type} after message_stop"
                ended = event.type == "message_stop"
                if event.type == "content_block_start":
                    assert (opened, event.index) == (None, len(blocks)), f"block {event.index} begins within {opened}"
                    opened, blocks[event.index] = event.index, ""
                elif event.type == "content_block_delta":
                    assert event.index == opened, f"a delta for block {event.index} within {opened}"
                    blocks[opened] += getattr(event.delta, "partial_json", "")
                elif event.type == "content_block_stop":
                    assert event.index == opened, f"block {event.index} ends within {opened}"
                    opened = None
            if not ended:
                return Reading()
            message = await stream.get_final_message()
    except anthropic.APIStatusError as error:
        assert not ended, "message_stop, and then an error"
        return Reading(finish="error", error=str(error))
    assert opened is None, f"block {opened} never ends"
    said = Reading()
    for at, block in enumerate(message.content):
        if block.type == "text":
            said.text += block.text
        elif block.type == "thinking":
            said.reasoning += block.thinking
        elif block.type == "tool_use":
            args = oracle.arguments(blocks[at])
            assert isinstance(args, str) or args == block.input, "the SDK reads other arguments than were sent"
            said.tools.append((block.name, args, block.id))
    finishes = {"max_tokens": "length", "refusal": "filter", "pause_turn": "paused", "tool_use": "tools"}
    said.finish = (finishes | {"end_turn": "natural", "stop_sequence": "natural"})[message.stop_reason]
    usage = message.usage
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    said.usage = Usage(usage.input_tokens + cached + written, usage.output_tokens, cached)
    if details := getattr(usage, "output_tokens_details", None):
        said.usage.reasoning = details.thinking_tokens or 0
    return said


async def gemini(clients, model):
    """Google's SDK. Each of its chunks is a whole response: they are added up here."""
    said, finish = Reading(), None
    try:
        async for chunk in await clients.gemini.models.generate_content_stream(model=model, contents=PROMPT):
            if counts := chunk.usage_metadata:
                total = (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0)
                thoughts = counts.thoughts_token_count or 0
                output = (counts.candidates_token_count or 0) + thoughts
                said.usage = Usage(total, output, counts.cached_content_token_count or 0, thoughts)
            if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
                finish = "SAFETY"
            for candidate in (candidate for candidate in chunk.candidates or [] if not candidate.index):
                finish = candidate.finish_reason.value if candidate.finish_reason else finish
                for part in (candidate.content and candidate.content.parts) or []:
                    if part.thought:
                        said.reasoning += part.text or ""
                    else:
                        said.text += part.text or ""
                    if call := part.function_call:
                        said.tools.append((call.name, call.args or {}, call.id))
    except genai.errors.APIError as error:
        said.finish, said.error = "error", error.message or str(error)
        return said
    finishes = {"STOP": "tools" if said.tools else "natural", "MAX_TOKENS": "length"}
    said.finish = finishes.get(finish, "filter") if finish else "truncated"
    return said


async def plain(clients, model):
    """Text, and [DONE] if it is all."""
    response = await clients.raw("plain", model)
    if response.status_code != 200:
        return Reading(finish="error", error=f"HTTP {response.status_code}: {response.text}")
    said = Reading()
    for event, data, _ in oracle.frames(response.content):
        assert said.finish == "truncated", f"{data!r} after the end"
        if event == "error":
            said.error = json.loads(data)["error"]["message"]
            said.finish = "error"
        elif data == "[DONE]":
            said.finish = "natural"
        else:
            said.text += data
    return said


READERS = {
    "openai-chat": chat,
    "openai-responses": responses,
    "anthropic": messages,
    "gemini": gemini,
    "plain": plain,
}
