"""Writes inputs for the fuzz targets to start from, out of what the tests have: seeds.py FOLDER

The tables of tests/wire/verdicts, recorded streams, examples of configurations; and recordings, if they lie beside the
checkout."""

import hashlib
import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(sys.argv[1])
DIALECTS = ("openai-chat", "openai-responses", "anthropic", "gemini")

CONFIG = """TOKENRILL_TIMEOUTS_CONNECT=5s
TOKENRILL_WORKERS=none
TOKENRILL_CORS_ORIGINS=["https://a.example", 5]
TOKENRILL_MODELS=[{ name = 5 }]
listen = "[::1]:80"
max_body = "64KiB"
hosts = ["a.example"]
"odd\\u0001key" = 1
[tls]
cert = "a"
[timeouts]
first_token = "soon"
[sse]
heartbeat = "0s"
[streams]
store = "rediss://user:pass@a:6379/0?x"
[providers.a]
dialect = "openai-chat"
base_url = "https://a.example/v1?x#y"
headers = { "x y" = "b" }
finish_reason = "never"
[[models]]
name = "*"
targets = [{ provider = "a", model = "m" }, { provider = "b" }]
"""

REQUESTS = [
    {
        "model": "m", "stream": True, "stream_options": {"include_usage": True}, "temperature": 0.5, "max_tokens": 5,
        "n": 1, "stop": ["a"], "seed": 1, "reasoning_effort": "low", "tool_choice": "auto", "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
        "tools": [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("f", "g")],
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [
                {"type": "text", "text": "\u4f60 \"x\" \\ud83c\\udf0a"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                {"id": "d", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
            {"role": "tool", "tool_call_id": "d", "content": "s"},
        ],
    },
    {
        "model": "m", "stream": True, "instructions": "i", "max_output_tokens": 5, "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_object"}}, "tool_choice": {"type": "function", "name": "f"}, "store": False,
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "t"}, {"type": "input_image", "image_url": "https://a/b"}]},
            {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "e"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "o"},
        ],
    },
    {
        "model": "m", "stream": True, "max_tokens": 5, "system": [{"type": "text", "text": "s"}], "stop_sequences": ["a"],
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "tool_choice": {"type": "any"},
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "h", "signature": "s"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r", "is_error": True}]},
        ],
    },
    {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {
            "temperature": 1, "maxOutputTokens": 5, "stopSequences": ["a"], "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT"}, "thinkingConfig": {"thinkingBudget": 5, "includeThoughts": True},
        },
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "contents": [
            {"role": "user", "parts": [{"text": "t"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "AAAA"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": 1}}}]},
        ],
    },
]


def seed(target, data):
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def stream(target, data):
    seed("sse", b"\x00\x00" + data[:4000])
    payloads = [line[5:].strip() for line in data.splitlines() if line.startswith(b"data:")]
    seed(target, b"\n".join(payloads)[:20000])


def http1(target, message):
    """A message in one piece, and in pieces of several lengths."""
    seed(target, bytes(4) + message)
    seed(target, b"\x01\x02\x03\x07" + message)


def verdicts(name):
    """The messages of a table, without the longest."""
    for cases in tomllib.loads((ROOT / f"tests/wire/verdicts/{name}.toml").read_text()).values():
        for case in cases.values():
            text = re.sub("⟪(.*?)×(\\d+)⟫", lambda found: found[1] * int(found[2]), case["send"], flags=re.DOTALL)
            if len(text) < 8000:
                yield text.encode("latin-1")


def messages():
    for message in verdicts("requests"):
        http1("http1_requests", message)
        head, _, body = message.partition(b"\r\n\r\n")
        if b"chunked" in head:
            http1("http1_chunks", body)
        if b"websocket" in head:
            http1("websocket_handshakes", message)
            # The first bytes of the socket come with its handshake.
            http1("websocket_handshakes", message + b"\x81\x85\x01\x02\x03\x04")
    for message in verdicts("responses"):
        http1("http1_responses", message)


def recordings():
    index = ROOT / "../shared/recordings/index.tsv"
    if not index.exists():
        return
    for line in index.read_text().splitlines()[1:]:
        name, _, dialect, *_ = line.split("\t")
        if name.endswith(".sse") and dialect in DIALECTS:
            stream(dialect.replace("-", "_"), (index.parent / name).read_bytes())
    for path in index.parent.glob("*/*.request.json"):
        seed("requests", path.read_bytes()[:20000])


for path in (ROOT / "tests/fixtures").glob("*/*.sse"):
    stream(path.parent.name.replace("-", "_"), path.read_bytes())
for request in REQUESTS:
    seed("requests", json.dumps(request).encode())
for path in (ROOT / "examples").glob("*.toml"):
    seed("config", path.read_bytes())
seed("config", CONFIG.encode())
for line in CONFIG.splitlines():
    seed("config", line.encode())
seed("redis_entries", bytes(range(200)))
messages()
recordings()
