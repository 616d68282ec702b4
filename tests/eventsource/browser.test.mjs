// A browser's own client, EventSource, against the live server.
import assert from "node:assert/strict"
import { test } from "node:test"

import { shared, within } from "../sdk/harness.mjs"
import { EventSource } from "../sdk/packages.mjs"

const TIMEOUT = { timeout: 60_000 }

const server = shared({ TOKENRILL_MOCK_TOKENS_PER_SECOND: "200" })

/** Reads a stream as a page would: messages until `[DONE]` or until an event of the type error. */
function read(path) {
  const source = new EventSource(server.url + path)
  const messages = []
  let opened = 0
  source.addEventListener("open", () => (opened += 1))
  const ended = new Promise((resolve) => {
    source.addEventListener("message", (event) => {
      if (event.data === "[DONE]") resolve({ done: true })
      else messages.push(event.data)
    })
    source.addEventListener("error", (event) => resolve({ error: event.data, code: event.code }))
  })
  return within(ended, `the end of ${path}`)
    .finally(() => source.close())
    .then((end) => ({ ...end, messages, opened }))
}

test("a page reads a prompt's answer to its end", TIMEOUT, async () => {
  const text = "  Grüße,\n\n你好 🌊 [DONE] data: [DONE]\n"
  const { done, messages, opened } = await read(`/stream?model=mock-echo&prompt=${encodeURIComponent(text)}`)
  assert.equal(done, true)
  assert.equal(opened, 1)
  assert.equal(messages.join(""), text)
})

test("a model that says only [DONE] is heard", TIMEOUT, async () => {
  const { done, messages } = await read("/stream?model=mock-echo&prompt=%5BDONE%5D")
  assert.equal(done, true)
  assert.equal(messages.join(""), "[DONE]")
})

test("a page runs a template", TIMEOUT, async () => {
  const { done, messages } = await read("/prompts/summarize?model=mock-echo&text=A%20rill%20is%20a%20small%20stream.")
  assert.equal(done, true)
  assert.match(messages.join(""), /A rill is a small stream\./)
})

test("a broken stream is an error event with its reason, and no end", TIMEOUT, async () => {
  const { done, error, messages } = await read("/stream?model=mock-break&prompt=a")
  assert.equal(done, undefined)
  assert.equal(messages.length, 10)
  const reason = JSON.parse(error).error
  assert.equal(reason.code, "upstream_reset")
  assert.ok(reason.message && reason.request_id)
})

test("a refusal is no stream: EventSource stops and says the status", TIMEOUT, async () => {
  const { done, code, messages } = await read("/stream?model=nobody&prompt=a")
  assert.equal(done, undefined)
  assert.equal(code, 404)
  assert.deepEqual(messages, [])
})
