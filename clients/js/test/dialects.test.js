// The text, the end and the errors of every dialect.
import assert from "node:assert/strict"
import { test } from "node:test"

import { generate } from "tokenrill"
import { at, drain, serve } from "./fake.js"

const json = (value, event) => `${event ? `event: ${event}\n` : ""}data: ${JSON.stringify(value)}\n`
const typed = (value) => json(value, value.type)
const chat = (delta, finish_reason = null) => json({ choices: [{ index: 0, delta, finish_reason }] })
const gemini = (parts, more = {}) => json({ candidates: [{ index: 0, content: { parts, role: "model" }, ...more }] })

const SPOKEN = {
  plain: {
    path: "/prompts/x",
    said: ["data: one\n", "data: two\ndata:\n", 'data: {"error":1}\n', "event: other\ndata: x\n", "data: [DONE]\n"],
    text: 'onetwo\n{"error":1}',
    error: json({ error: { message: "m", code: "c" } }, "error"),
  },
  "plain-json": {
    path: "/stream?encoding=json",
    said: ['data: "one\\r"\n', 'data: "[DONE]"\n', "data: [DONE]\n"],
    text: "one\r[DONE]",
    error: json({ error: { message: "m", code: "c" } }, "error"),
  },
  "openai-chat": {
    path: "/v1/chat/completions",
    said: [
      chat({ role: "assistant", content: "" }), chat({ content: "one" }), chat({ reasoning_content: "hm" }), chat({ content: "two" }),
      json({ choices: [{ index: 1, delta: { content: "other" } }] }), chat({}, "stop"), json({ choices: [], usage: {} }), "data: [DONE]\n",
    ],
    text: "onetwo",
    error: json({ error: { message: "m", code: "c" } }),
  },
  "openai-responses": {
    path: "/v1/responses",
    said: [
      typed({ type: "response.created" }), typed({ type: "response.output_text.delta", delta: "one" }),
      typed({ type: "response.reasoning_summary_text.delta", delta: "hm" }), typed({ type: "response.output_text.delta", delta: "two" }),
      typed({ type: "response.output_text.done", text: "onetwo" }), typed({ type: "response.completed" }),
    ],
    text: "onetwo",
    error: typed({ type: "error", code: "c", message: "m" }),
  },
  anthropic: {
    path: "/v1/messages",
    said: [
      typed({ type: "message_start" }), typed({ type: "ping" }),
      typed({ type: "content_block_delta", delta: { type: "thinking_delta", thinking: "hm" } }),
      typed({ type: "content_block_delta", delta: { type: "text_delta", text: "one" } }),
      typed({ type: "content_block_delta", delta: { type: "text_delta", text: "two" } }), typed({ type: "message_stop" }),
    ],
    text: "onetwo",
    error: typed({ type: "error", error: { type: "c", message: "m" } }),
  },
  gemini: {
    path: "/v1beta/models/m:streamGenerateContent?alt=sse",
    said: [
      gemini([{ text: "hm", thought: true }]), gemini([{ text: "o" }, { text: "ne" }]), gemini([{ functionCall: {} }]),
      gemini([{ text: "two" }], { finishReason: "STOP" }),
    ],
    text: "onetwo",
    error: json({ error: { code: 503, status: "c", message: "m" } }),
  },
}

for (const [dialect, { path, said, text, error }] of Object.entries(SPOKEN)) {
  const ask = { path, body: {} }

  test(`${dialect}: the text, and that it is whole`, async (t) => {
    const server = await serve(t, said)
    const stream = await generate(server.url, ask)
    assert.equal(stream.dialect, dialect)
    assert.equal(await stream.text(), text)
    assert.equal(server.seen.length, 1)
    const frames = await drain((await generate(server.url, ask)).events())
    assert.equal(frames.items.length, said.length)
  })

  test(`${dialect}: closed after any frame, it is resumed or whole`, async (t) => {
    let bytes = 9
    for (const [index, frame] of said.entries()) {
      bytes += Buffer.byteLength(`id: ${at(index + 1)}\n${frame}\n`)
      for (const clean of [true, false]) {
        const server = await serve(t, said, ({ number }) => (number === 0 ? { cut: bytes, clean } : {}))
        assert.equal(await (await generate(server.url, ask)).text(), text)
        if (index < said.length - 1) assert.equal(server.seen.length, 2, `after frame ${index}`)
      }
    }
  })

  test(`${dialect}: an error`, async (t) => {
    const server = await serve(t, [...said.slice(0, -1), error])
    const ended = await drain(await generate(server.url, ask))
    assert.deepEqual([ended.error?.code, ended.error?.message], ["c", "m"])
    assert.ok(ended.items.length > 0)
  })
}

test("Responses that fail or stop short", async (t) => {
  const failed = await serve(t, [typed({ type: "response.failed", response: { error: { code: "c", message: "m" } } })])
  const ask = { path: "/v1/responses", body: {} }
  assert.equal((await drain(await generate(failed.url, ask))).error.code, "c")
  const short = await serve(t, [typed({ type: "response.incomplete" })])
  assert.deepEqual(await drain(await generate(short.url, ask)), { items: [] })
})

test("what should be JSON and is not", async (t) => {
  const server = await serve(t, ["data: <html>\n"])
  assert.equal((await drain(await generate(server.url, { path: "/v1/messages", body: {} }))).error.code, "bad_payload")
})
