"""Flavors: a provider's own SDK asks a scripted upstream first, which shows that the script is true; then tokenrill asks the
same upstream, and must ask as the SDK did."""

import base64
import json
import re
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

TEXT = "Hello"
CHAT = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
     "choices": [{"index": 0, "delta": {"role": "assistant", "content": TEXT}, "finish_reason": None}]},
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
     "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
MESSAGES = [
    {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
                                          "content": [], "stop_reason": None, "stop_sequence": None,
                                          "usage": {"input_tokens": 1, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
GEMINI = [{"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [{"text": TEXT}]}}],
           "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}]
OLLAMA = [{"model": "m", "created_at": "2026-08-05T08:11:04Z", "message": {"role": "assistant", "content": TEXT}, "done": False},
          {"model": "m", "created_at": "2026-08-05T08:11:05Z", "message": {"role": "assistant", "content": ""}, "done": True,
           "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1}]
CONVERSE = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": TEXT}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 5}}},
]


def aws_frame(headers, payload):
    """A frame as https://smithy.io/2.0/aws/amazon-eventstream.html has it."""
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    framed = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return framed + struct.pack(">I", zlib.crc32(framed))


def events(payloads, done=""):
    return "".join(f"data: {json.dumps(payload)}\n\n" for payload in payloads).encode() + done.encode()


def chunks(payloads):
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    encoded = (base64.b64encode(json.dumps(payload).encode()).decode() for payload in payloads)
    return b"".join(aws_frame(headers, json.dumps({"bytes": text, "p": "abc"}).encode()) for text in encoded)


def frames(payloads):
    """Events of Converse, each named by a header of its frame."""
    named = ((name, event) for payload in payloads for name, event in payload.items())
    headers = {":content-type": "application/json", ":message-type": "event"}
    return b"".join(aws_frame(headers | {":event-type": name}, json.dumps(event).encode()) for name, event in named)


ANSWERS = {
    "azure": ("text/event-stream", events(CHAT, "data: [DONE]\n\n")),
    "vertex": ("text/event-stream", events(GEMINI)),
    "bedrock-invoke": ("application/vnd.amazon.eventstream", chunks(MESSAGES)),
    "bedrock-converse": ("application/vnd.amazon.eventstream", frames(CONVERSE)),
    "ollama": ("application/x-ndjson", "".join(json.dumps(line) + "\n" for line in OLLAMA).encode()),
}


class Script:
    """An upstream that answers everything alike, and keeps what it was asked."""

    def __init__(self, flavor):
        self.seen = seen = []
        kind, answer = ANSWERS[flavor]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/token":
                    return self.reply("application/json", b'{"access_token": "token-12345678", "expires_in": 3600}')
                seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.reply(kind, answer)

            def reply(self, kind, body):
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def script(request):
    upstream = Script(request.param)
    yield upstream
    upstream.server.shutdown()


def ask(start, script, keys, env, model):
    """Asks through tokenrill, as a client of Chat Completions; returns the text and what the upstream saw."""
    config = f'[providers.p]\nbase_url = "{script.url}"\n{keys}\n[[models]]\nname = "*"\ntargets = [{{ provider = "p" }}]\n'
    server = start(config, env)
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=20).text
    assert answer.rstrip().endswith("data: [DONE]"), answer
    payloads = (json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {"))
    text = "".join(choice["delta"].get("content") or "" for payload in payloads for choice in payload["choices"])
    return text, script.seen[-1]


@pytest.mark.parametrize("script", ["azure"], indirect=True)
def test_azure_as_its_sdk(start, script):
    from openai import AzureOpenAI

    client = AzureOpenAI(azure_endpoint=script.url, api_key="azure-12345678", api_version="2024-10-21")
    stream = client.chat.completions.create(
        model="my-gpt", stream=True, messages=[{"role": "user", "content": "Hi"}]
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == TEXT
    path, headers, _ = script.seen[0]
    keys = 'flavor = "azure"\napi_version = "2024-10-21"'
    text, (own_path, own_headers, _) = ask(start, script, keys, {"AZURE_OPENAI_API_KEY": "azure-12345678"}, "my-gpt")
    assert (text, own_path, own_headers["api-key"]) == (TEXT, path, headers["api-key"])


@pytest.mark.parametrize("script", ["vertex"], indirect=True)
def test_vertex_as_its_sdk(start, script, tmp_path):
    from google import genai
    from google.oauth2.credentials import Credentials

    client = genai.Client(
        vertexai=True, project="p1", location="europe-west4", credentials=Credentials(token="token-12345678"),
        http_options={"base_url": script.url, "api_version": "v1"},
    )
    stream = client.models.generate_content_stream(model="gemini-3-pro", contents="Hi")
    assert "".join(chunk.text or "" for chunk in stream) == TEXT
    path, headers, _ = script.seen[0]
    file = tmp_path / "adc.json"
    account = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    file.write_text(json.dumps(account))
    keys = f'flavor = "vertex"\nproject = "p1"\nregion = "europe-west4"\ntoken_url = "{script.url}/token"'
    env = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    text, (own_path, own_headers, _) = ask(start, script, keys, env, "gemini-3-pro")
    assert (text, own_path, own_headers["authorization"]) == (TEXT, path, headers["authorization"])


@pytest.mark.parametrize("script", ["bedrock-invoke"], indirect=True)
def test_bedrock_as_its_sdk(start, script):
    import boto3
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-12345678", "AWS_REGION": "us-east-1"}
    model = "us.anthropic.claude-sonnet-4-20250514-v1:0"
    client = boto3.client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=script.url,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"], aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    answer = client.invoke_model_with_response_stream(modelId=model, body=json.dumps({"messages": []}))
    payloads = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    assert payloads == MESSAGES
    path, _, _ = script.seen[0]
    text, (own_path, headers, body) = ask(start, script, 'flavor = "bedrock-invoke"', keys, model)
    assert (text, own_path) == (TEXT, path)
    # The signature is the one that AWS's own code makes of the same request.
    signed = re.search(r"SignedHeaders=([^,]+), Signature=(\w+)", headers["authorization"])
    names = signed[1].split(";")
    request = AWSRequest("POST", script.url + own_path, data=body, headers={name: headers[name] for name in names})
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]), "bedrock", "us-east-1")
    text_to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    assert auth.signature(text_to_sign, request) == signed[2]


def with_bytes(value):
    """A body as the SDK's user writes it: bytes, where JSON has base64."""
    if isinstance(value, dict):
        return {name: base64.b64decode(inner) if name == "bytes" else with_bytes(inner) for name, inner in value.items()}
    return [with_bytes(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("script", ["bedrock-converse"], indirect=True)
def test_converse_as_its_sdk(start, script):
    import boto3
    from botocore.validate import ParamValidator

    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-12345678", "AWS_REGION": "us-east-1"}
    model = "us.amazon.nova-pro-v1:0"
    client = boto3.client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=script.url,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"], aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    message = {"role": "user", "content": [{"text": "Hi"}]}
    answer = client.converse_stream(modelId=model, messages=[message], inferenceConfig={"maxTokens": 9})
    assert list(answer["stream"]) == CONVERSE
    path, _, body = script.seen[0]
    text, (own_path, _, own_body) = ask(start, script, 'flavor = "bedrock-converse"', keys, model)
    assert (text, own_path, json.loads(own_body)) == (TEXT, path, json.loads(body))
    # All that a conversation may hold is what AWS's own description of the API allows.
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    call = {"id": "call:1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    asked = {
        "model": "anthropic.claude-sonnet-4-5-v1:0", "stream": True, "max_tokens": 4000, "stop": ["x"], "top_p": 0.9,
        "reasoning_effort": "low", "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}],
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "content": [{"type": "text", "text": "look"}, image, pdf]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call:1", "content": "42"},
            {"role": "user", "content": "and?"},
        ],
    }
    server = start(
        f'[providers.p]\nbase_url = "{script.url}"\nflavor = "bedrock-converse"\n'
        '[[models]]\nname = "*"\ntargets = [{ provider = "p" }]\n', keys
    )
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=20)
    assert answer.status_code == 200, answer.text
    sent = json.loads(script.seen[-1][2])
    shape = client.meta.service_model.operation_model("ConverseStream").input_shape
    report = ParamValidator().validate({"modelId": "m"} | with_bytes(sent), shape)
    assert not report.has_errors(), report.generate_report()
    kinds = [[next(iter(block)) for block in turn["content"]] for turn in sent["messages"]]
    assert kinds == [["text", "image", "document"], ["toolUse"], ["toolResult", "text"]]
    assert sent["system"] == [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]


@pytest.mark.parametrize("script", ["ollama"], indirect=True)
def test_ollama_as_its_sdk(start, script):
    from ollama import Client

    stream = Client(host=script.url).chat(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
    assert "".join(chunk.message.content or "" for chunk in stream) == TEXT
    path, _, body = script.seen[0]
    text, (own_path, _, own_body) = ask(start, script, 'flavor = "ollama"', {}, "m")
    assert (text, own_path) == (TEXT, path)
    assert json.loads(own_body)["messages"] == json.loads(body)["messages"]
