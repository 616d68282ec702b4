"""What a client is told, for every client's dialect in front of every upstream's: tokens as they come, its own errors.

The upstream is played by hand, payload by payload, and the client's frames are read raw. The answers themselves are
read by the official SDKs in `test_matrix`.
"""

import json

import pytest

from conversations import Ask, endpoint, spell, user
from fake_dialects import DIALECTS, answer, frame
from shapes import arguments_of, error_message, is_end, late_error, text_of, thought_of
from speakers import SPEAKERS, Call, Text, Thought, Usage, responses_whole
from wire import Client, Frame

ASK = Ask((user("Hello"),))
every_pair = pytest.mark.parametrize(
    ("client", "upstream"), [(client, upstream) for client in DIALECTS for upstream in DIALECTS]
)
WORDS = "upstream-words-for-it"


def read_until(request, piece_of, dialect, piece):
    """Reads frames until that piece of the answer has come, and no more than that."""
    got = ""
    while got != piece:
        message = request.message()
        assert message is not None, f"it ended before {piece!r}"
        assert not is_end(dialect, message), f"it said that it ended before {piece!r}"
        got += piece_of(dialect, message)
        assert piece.startswith(got), f"{got!r} instead of {piece!r}"


def say(exchange, dialect, said):
    for payload in said:
        exchange.piece(frame(dialect, payload))


# ---- nothing is held back ----


@every_pair
def test_each_token_arrives_before_the_next_one_is_sent(scripted, client, upstream):
    speaker = SPEAKERS[upstream]()
    with scripted.ask(client, upstream, ASK) as request:
        exchange = scripted.upstreams.next()
        exchange.start()
        say(exchange, upstream, speaker.start())
        for number in range(8):
            thought = f"thought {number} "
            say(exchange, upstream, speaker.thought(thought))
            read_until(request, thought_of, client, thought)
        for number in range(8):
            token = f"token {number}, 🌊"
            say(exchange, upstream, speaker.text(token))
            read_until(request, text_of, client, token)
        say(exchange, upstream, speaker.end("stop", Usage()))
        exchange.end()
        assert any(is_end(client, message) for message in request.messages())
        assert request.response.complete


@pytest.mark.parametrize("upstream", ["chat", "responses", "anthropic"])
@pytest.mark.parametrize("client", ["chat", "responses", "anthropic"])
def test_each_piece_of_a_call_arrives_before_the_next_one_is_sent(scripted, client, upstream):
    speaker = SPEAKERS[upstream]()
    arguments = {"city": "Zürich, where the river leaves the lake", "days": 3}
    with scripted.ask(client, upstream, ASK) as request:
        exchange = scripted.upstreams.next()
        exchange.start()
        say(exchange, upstream, speaker.start())
        got = ""
        for payload in speaker.call(Call("call_one", "get_weather", arguments)):
            say(exchange, upstream, [payload])
            sent = arguments_of(upstream, _as_frame(payload))
            if sent:
                read_until(request, arguments_of, client, sent)
                got += sent
        assert json.loads(got) == arguments
        say(exchange, upstream, speaker.end("tools", Usage()))
        exchange.end()
        assert any(is_end(client, message) for message in request.messages())


def _as_frame(payload):
    return Frame(data=json.dumps(payload))


# ---- usage ----


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@every_pair
def test_cached_and_reasoned_tokens_are_counted_as_each_dialect_counts(scripted, client, upstream, streamed):
    scripted.upstreams.answer(answer(Thought("hm"), Text("fine"), usage=Usage(100, 40, cached=30, reasoned=10)))
    more = {"stream_options": {"include_usage": True}} if client == "chat" and streamed else {}
    with scripted.send(client, upstream, spell(client, ASK, "") | more, streamed=streamed) as request:
        if streamed:
            told = [message.json() for message in request.messages() if not message.done]
        else:
            told = [json.loads(request.rest())]
    cached, reasoned = 30, 0 if upstream == "anthropic" else 10  # Anthropic's upstreams don't tell them apart
    match client:
        case "chat":
            usage = told[-1]["usage"]
            counts = [usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]]
            assert counts == [100, 40, 140]
            assert usage["prompt_tokens_details"]["cached_tokens"] == cached
            assert not reasoned or usage["completion_tokens_details"]["reasoning_tokens"] == reasoned
        case "responses":
            usage = (told[-1]["response"] if streamed else told[-1])["usage"]
            assert [usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]] == [100, 40, 140]
            assert usage["input_tokens_details"]["cached_tokens"] == cached
            assert usage["output_tokens_details"]["reasoning_tokens"] == reasoned
        case "anthropic":
            usage = {}
            for payload in told:
                usage |= payload.get("message", payload).get("usage") or {}
            assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (70, cached)
            assert usage["output_tokens"] == 40
        case "gemini":
            usage = [payload["usageMetadata"] for payload in told if "usageMetadata" in payload][-1]
            assert usage["promptTokenCount"] == 100
            assert usage["cachedContentTokenCount"] == cached
            assert usage["candidatesTokenCount"] == 40 - reasoned
            assert not reasoned or usage["thoughtsTokenCount"] == reasoned
            assert usage["totalTokenCount"] == 140


# ---- errors before the answer ----


def refusal(dialect, status):
    """An upstream's error in its own shape."""
    match dialect:
        case "anthropic":
            kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
            kind = kinds.get(status, "overloaded_error")
            return {"type": "error", "error": {"type": kind, "message": WORDS}, "request_id": "req_body"}
        case "gemini":
            words = {401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
            return {"error": {"code": status, "message": WORDS, "status": words.get(status, "UNAVAILABLE")}}
    return {"error": {"message": WORDS, "type": "some_error", "param": None, "code": None}}


ID_HEADER = {"chat": "x-request-id", "responses": "x-request-id", "anthropic": "request-id"}


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("status", [401, 404, 429, 503, 529])
@every_pair
def test_an_early_error_is_told_as_the_client_s_own(scripted, client, upstream, status, streamed):
    headers = [("retry-after", "7")] if status in (429, 529) else []
    if name := ID_HEADER.get(upstream):
        headers.append((name, "id-of-the-upstream"))
    body = refusal(upstream, status)
    scripted.upstreams.answer(lambda exchange: exchange.reply(status, body, headers=headers))
    with scripted.ask(client, upstream, ASK, streamed=streamed) as request:
        head = request.head()
        told = request.rest()
    allowed = {529: {529} if client == "anthropic" else {529, 503}}.get(status, {status})
    assert head.status in allowed
    assert WORDS in error_message(client, head.status, told)
    if client == upstream:
        assert json.loads(told) == body, "within a dialect an error is passed on as it came"
    assert head.header("retry-after") == ("7" if status in (429, 529) else None)
    assert head.header("content-type").startswith("application/json")
    if name:
        assert head.header("x-upstream-request-id") == "id-of-the-upstream"
    own = head.header("x-request-id")
    assert own not in (None, "id-of-the-upstream")
    if client == "anthropic":
        assert head.header("request-id") == own, "where its SDK looks for it"


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@every_pair
def test_the_upstream_s_request_id_is_told_with_an_answer(scripted, client, upstream, streamed):
    if upstream not in ID_HEADER:
        name, value = "x-request-id", None
        headers = []
    else:
        name, value = ID_HEADER[upstream], "id-of-the-upstream"
        headers = [(name, value)]
    scripted.upstreams.answer(answer(Text("fine"), headers=headers))
    with scripted.ask(client, upstream, ASK, streamed=streamed) as request:
        head = request.head()
        request.rest()
    assert head.header("x-upstream-request-id") == value
    assert head.header("x-request-id") not in (None, value)


# ---- errors after the first token ----


def broken(dialect, how):
    """A stream that says something and then fails, as bytes."""
    speaker = SPEAKERS[dialect]()
    said = [*speaker.start(), *speaker.text("something")]
    data = "".join(frame(dialect, payload) for payload in said)
    if how == "ends early":
        return data
    match dialect:
        case "chat":
            data += frame(dialect, {"error": {"message": WORDS, "type": "server_error", "param": None, "code": None}})
        case "responses":
            error = {"code": "server_error", "message": WORDS}
            number = speaker.number
            told = {"type": "error", "sequence_number": number, **error, "param": None}
            failed = responses_whole([], "failed") | {"error": error}
            data += frame(dialect, told)
            data += frame(dialect, {"type": "response.failed", "sequence_number": number + 1, "response": failed})
        case "anthropic":
            data += frame(dialect, {"type": "error", "error": {"type": "overloaded_error", "message": WORDS}})
        case "gemini":
            error = {"error": {"code": 503, "message": WORDS, "status": "UNAVAILABLE"}}
            data += json.dumps(error, indent=2) + "\n"
    return data


@pytest.mark.parametrize("how", ["tells an error", "ends early", "is cut"])
@every_pair
def test_a_stream_that_breaks_ends_with_an_error_and_never_looks_whole(scripted, client, upstream, how):
    data = broken(upstream, "ends early" if how == "is cut" else how)
    with scripted.ask(client, upstream, ASK) as request:
        exchange = scripted.upstreams.next()
        exchange.start()
        exchange.piece(data)
        messages = []
        while not messages or not text_of(client, messages[-1]):
            messages.append(request.message())
        exchange.cut() if how == "is cut" else exchange.end()
        messages += request.messages()
    told = late_error(client, messages)
    assert WORDS in told if how == "tells an error" else told


@every_pair
def test_nothing_follows_an_error(scripted, client, upstream):
    """Some gateways go on after an error as if nothing had happened: their end marks are not passed on."""
    speaker = SPEAKERS[upstream]()
    end = "".join(frame(upstream, payload) for payload in speaker.end("stop", Usage()))

    def script(exchange):
        exchange.start()
        exchange.piece(broken(upstream, "tells an error") + ("\r\n" if upstream == "gemini" else "") + end)
        exchange.end()

    scripted.upstreams.answer(script)
    with scripted.ask(client, upstream, ASK) as request:
        assert WORDS in late_error(client, request.messages())


# ---- the same dialect on both sides ----

ODD = {
    "chat": [
        '{"id":"x","choices":[{"index":0,"delta":{"content":"a","secret":[1.50,null]},"finish_reason":null}],"p":"  "}',
        '{ "id" : "x", "choices" : [ {"delta":{"content":"\\u00e9"},"index":0,"finish_reason":null} ] , "e": 1E2 }',
        '{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"timings":{"ms":1.10}}',
        "[DONE]",
    ],
    "responses": [
        '{"type":"response.created","sequence_number":0,"response":{"id":"resp_x","object":"response","status":"in_progress","output":[],"new":1}}',
        '{"type":"response.web_search_call.searching","sequence_number":1,"output_index":0,"item_id":"ws_1"}',
        '{"type":"response.nobody_knows.delta","sequence_number":2,"delta":{"a":1.50}}',
        '{"type":"response.output_item.added","sequence_number":3,"output_index":0,"item":{"id":"m","type":"message","role":"assistant","status":"in_progress","content":[]}}',
        '{"type":"response.content_part.added","sequence_number":4,"output_index":0,"item_id":"m","content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}',
        '{ "type" : "response.output_text.delta","sequence_number":5,"output_index":0,"item_id":"m","content_index":0,"delta":"\\u00e9","obfuscation":"xYz"   }',
        '{"type":"response.completed","sequence_number":6,"response":{"id":"resp_x","object":"response","status":"completed","output":[],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2,"new":{}}}}',
    ],
    "anthropic": [
        '{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"x","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1,"service_tier":"standard"}}   }',
        '{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}          }',
        '{"type":"ping"}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"nobody_knows_delta","x":1.50}     }',
        '{"type":"content_block_stop","index":0 }',
        '{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""} }',
        '{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"\\u00e9"}  }',
        '{"type":"content_block_stop","index":1 }',
        '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2},"context_management":{"x":1}}',
        '{"type":"message_stop"     }',
    ],
    "gemini": [
        '{"candidates":[{"content":{"parts":[{"text":"\\u00e9","partMetadata":{"a":1.50}}],"role":"model"},"index":0,"new":true}]  }',
        '{"candidates":[{"content":{"parts":[{"executableCode":{"language":"PYTHON","code":"1"}}],"role":"model"}}],"x":null}',
        '{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","groundingMetadata":{"q":["a"]}}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2,"totalTokenCount":3,"new":9}}',
    ],
}


@pytest.mark.parametrize("named", [True, False], ids=["with event names", "without event names"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_within_a_dialect_payloads_pass_byte_for_byte(scripted, dialect, named):
    def script(exchange):
        exchange.start()
        for data in ODD[dialect]:
            name = f"event: {json.loads(data)['type']}\n" if named and dialect in ("responses", "anthropic") else ""
            exchange.piece(f"{name}data: {data}\n\n")
        exchange.end()

    scripted.upstreams.answer(script)
    with scripted.ask(dialect, dialect, ASK) as request:
        messages = request.messages()
        assert request.response.complete
    assert [message.data for message in messages] == ODD[dialect]
    for message in messages:
        names = dialect in ("responses", "anthropic")
        assert message.event == (message.json()["type"] if names else "message"), "SDKs go by either"


@pytest.mark.parametrize("dialect", ["responses", "anthropic", "gemini"])
def test_within_a_dialect_a_whole_answer_passes_byte_for_byte(scripted, dialect):
    bodies = {
        "responses": '{"id":"r","object":"response","status":"completed","output":[{"type":"new"}],"usage":null, "x": 1.50}',
        "anthropic": '{"id":"m","type":"message","role":"assistant","model":"x","content":[{"type":"new"}],'
        '"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}, "x": 1.50}',
        "gemini": '{"candidates":[{"content":{"parts":[{"new":1}]},"finishReason":"STOP"}], "x": 1.50}',
    }
    scripted.upstreams.answer(lambda exchange: exchange.reply(200, bodies[dialect]))
    with scripted.ask(dialect, dialect, ASK, streamed=False) as request:
        assert request.rest().decode() == bodies[dialect]


# ---- order and form ----


@every_pair
def test_the_frames_of_an_answer_are_in_the_order_that_clients_rely_on(scripted, client, upstream):
    parts = (Thought("Let me see.", "EqQBCkYIARgC"), Text("Well then."), Call("call_one", "get_weather", {"a": 1}))
    parts += (Call("call_two", "get_time", {}),)
    scripted.upstreams.answer(answer(*parts, finish="tools"))
    with scripted.ask(client, upstream, ASK) as request:
        messages = request.messages()
    kinds = [message.json()["type"] for message in messages if client in ("responses", "anthropic")]
    if client == "anthropic":
        assert kinds[0] == "message_start"
        assert kinds[-2:] == ["message_delta", "message_stop"]
        open_block, seen = None, []
        for payload in (message.json() for message in messages):
            if payload["type"] == "content_block_start":
                assert open_block is None, "blocks never overlap"
                assert payload["index"] == len(seen)
                open_block = payload["index"]
                seen.append(payload["content_block"]["type"])
            elif payload["type"] in ("content_block_delta", "content_block_stop"):
                assert payload["index"] == open_block
                open_block = None if payload["type"] == "content_block_stop" else open_block
        assert [kind for kind in seen if kind != "thinking"] == ["text", "tool_use", "tool_use"]
        assert seen[0] == "thinking"
    elif client == "responses":
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        numbers = [message.json()["sequence_number"] for message in messages]
        assert numbers == list(range(len(messages)))
        final = messages[-1].json()["response"]["output"]
        done = [m.json() for m in messages if m.json()["type"] == "response.output_item.done"]
        assert [payload["item"] for payload in done] == final, "the end repeats what was done"
        assert [item["type"] for item in final] == ["reasoning", "message", "function_call", "function_call"]
    elif client == "chat":
        assert messages[-1].done
        finishes = [c["finish_reason"] for m in messages[:-1] for c in m.json()["choices"] if c["finish_reason"]]
        assert finishes == ["tool_calls"]
        assert {message.json()["object"] for message in messages[:-1]} == {"chat.completion.chunk"}
    else:
        assert not any(message.done for message in messages)
        assert b"event:" not in request.body
        reasons = [one.get("finishReason") for m in messages for one in m.json()["candidates"]]
        assert [reason for reason in reasons if reason] == ["STOP"]


def test_a_heartbeat_breaks_no_client(start, scripted):
    """Google's SDK takes any line that is not `data: ` for an error: an empty line is all that it bears with."""
    keys = scripted.upstreams.keys()
    server = start(scripted.upstreams.config(top='[sse]\nheartbeat = "20ms"\n'), env=keys)
    for client in DIALECTS:
        body = spell(client, ASK, "via-chat") | ({} if client == "gemini" else {"stream": True})
        with Client(server.port, "POST", endpoint(client, "via-chat", True), body=body) as request:
            exchange = scripted.upstreams.next()
            exchange.start()
            exchange.say("one")
            beats = 0
            while beats < 3:
                beat = request.frame()
                pinged = beat.data is not None and client == "anthropic" and beat.json()["type"] == "ping"
                beats += beat.data is None or pinged
                if client == "gemini":
                    assert all(line.startswith(b"data: ") for line in beat.raw.splitlines() if line), beat.raw
            exchange.say(" two")
            exchange.finish()
            assert "".join(text_of(client, m) for m in request.messages()).endswith(" two")
