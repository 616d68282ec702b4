"""How each dialect's clients are told of errors and ends: read from raw frames and bodies, field by field."""

import json

ANTHROPIC_TYPE = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
GEMINI_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "INTERNAL",
    503: "UNAVAILABLE",
    529: "UNAVAILABLE",
}


def error_message(dialect, status, body):
    """The message of an error body, which must have the dialect's shape and the words for its status."""
    told = json.loads(body)
    if dialect == "anthropic":
        assert told["type"] == "error"
        assert told.keys() <= {"type", "error", "request_id"}
        known = {ANTHROPIC_TYPE[status]} | ({"api_error"} if status >= 500 else set())
        assert told["error"]["type"] in known, told
    elif dialect == "gemini":
        assert told.keys() == {"error"}
        assert told["error"]["code"] == status
        assert told["error"]["status"] == GEMINI_STATUS[status], told
    else:
        assert told["error"].keys() >= {"message", "type", "param", "code"}
        assert isinstance(told["error"]["type"], str)
        assert told["error"]["param"] is None or isinstance(told["error"]["param"], str)
    return told["error"]["message"]


def text_of(dialect, frame):
    """The piece of the answer that a frame carries."""
    if frame.done:
        return ""
    payload = frame.json()
    match dialect:
        case "chat":
            return "".join(choice["delta"].get("content") or "" for choice in payload["choices"])
        case "responses":
            return payload["delta"] if payload["type"] == "response.output_text.delta" else ""
        case "anthropic":
            return payload.get("delta", {}).get("text", "") if payload["type"] == "content_block_delta" else ""
    return "".join(part.get("text", "") for part in _parts(payload) if not part.get("thought"))


def thought_of(dialect, frame):
    """The piece of reasoning that a frame carries."""
    if frame.done:
        return ""
    payload = frame.json()
    match dialect:
        case "chat":
            return "".join(choice["delta"].get("reasoning_content") or "" for choice in payload["choices"])
        case "responses":
            kinds = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
            return payload["delta"] if payload["type"] in kinds else ""
        case "anthropic":
            return payload.get("delta", {}).get("thinking", "") if payload["type"] == "content_block_delta" else ""
    return "".join(part.get("text", "") for part in _parts(payload) if part.get("thought"))


def arguments_of(dialect, frame):
    """The piece of a tool call's arguments that a frame carries; Gemini knows no pieces."""
    if frame.done:
        return ""
    payload = frame.json()
    match dialect:
        case "chat":
            calls = [call for choice in payload["choices"] for call in choice["delta"].get("tool_calls") or []]
            return "".join(call["function"].get("arguments") or "" for call in calls)
        case "responses":
            return payload["delta"] if payload["type"] == "response.function_call_arguments.delta" else ""
    return payload.get("delta", {}).get("partial_json", "") if payload["type"] == "content_block_delta" else ""


def _parts(payload):
    return [part for one in payload.get("candidates", []) for part in one.get("content", {}).get("parts", [])]


def is_end(dialect, frame):
    """Whether a client takes this frame for the end of a whole answer."""
    if frame.done:
        return True
    payload = frame.json()
    match dialect:
        case "chat":
            return any(choice.get("finish_reason") for choice in payload.get("choices", []))
        case "responses":
            return payload["type"] in ("response.completed", "response.incomplete")
        case "anthropic":
            return payload["type"] in ("message_stop", "message_delta")
    return any(one.get("finishReason") for one in payload.get("candidates", []))


def late_error(dialect, frames):
    """The message of the error that a stream ends with, told as the dialect tells it."""
    assert not any(is_end(dialect, frame) for frame in frames), "it looks complete"
    last = frames[-1].json()
    match dialect:
        case "chat":
            assert last.keys() == {"error"}
            assert last["error"].keys() >= {"message", "type", "param", "code"}
            return last["error"]["message"]
        case "responses":
            told, failed = frames[-2].json(), last
            assert (told["type"], failed["type"]) == ("error", "response.failed")
            assert (frames[-2].event, frames[-1].event) == ("error", "response.failed")
            assert failed["response"]["status"] == "failed"
            assert failed["response"]["error"]["code"]
            numbers = [frame.json()["sequence_number"] for frame in frames]
            assert numbers == list(range(len(frames)))
            return failed["response"]["error"]["message"]
        case "anthropic":
            assert frames[-1].event == "error"
            assert last["type"] == "error"
            assert last["error"]["type"].endswith("_error")
            return last["error"]["message"]
    assert list(last)[0] == "error", "the official SDK looks at the first key"
    assert last["error"]["code"] >= 400
    assert last["error"]["status"] in GEMINI_STATUS.values()
    return last["error"]["message"]
