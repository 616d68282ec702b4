// What a user meets: starting, ending, errors, leaving, cancelling.
import assert from "node:assert/strict"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"

import { Stream, StreamError, generate, resume } from "tokenrill"
import { ID, at, drain, plain, serve, until } from "./fake.js"

const TOKENS = ["one", " two", " three"]
const LOG = plain(TOKENS)
const ASK = { prompt: "Hello" }
/** Sends two tokens and a bit, and then nothing. */
const HANGING = { cut: 180, stall: true }

test("what is asked for", async (t) => {
  const server = await serve(t, LOG)
  const stream = await generate(server.url, {
    prompt: "Hello", model: "mock", max_tokens: 3, linger: "30s", headers: { authorization: "Bearer x" },
  })
  assert.ok(stream instanceof Stream)
  assert.equal(stream.id, ID)
  assert.equal(await stream.text(), "one two three")
  assert.equal(stream.ended, true)
  const [asked, ...more] = server.seen
  assert.deepEqual(more, [])
  assert.equal(asked.method, "POST")
  assert.equal(asked.path, "/stream")
  assert.deepEqual(JSON.parse(asked.body), { prompt: "Hello", model: "mock", max_tokens: 3 })
  assert.equal(asked.headers["x-linger"], "30s")
  assert.equal(asked.headers.authorization, "Bearer x")
  assert.match(asked.headers["idempotency-key"], /^[0-9a-f]{32}$/)
  const other = await generate(server.url, { path: "/v1/chat/completions", body: { model: "m" }, linger: 0, dialect: "plain-json" })
  assert.equal(await other.text(), "one two three")
  assert.deepEqual(JSON.parse(server.seen[1].body), { stream: true, model: "m" })
  assert.equal(server.seen[1].headers["x-linger"], "0")
  assert.equal(server.seen[1].headers["idempotency-key"], undefined)
})

test("a request that is lost on its way is sent again under the same key", async (t) => {
  const server = await serve(t, LOG, ({ number }) => ({ destroy: number < 2 }))
  const fetchNow = (url, init) => fetch(url, init)
  assert.equal(await (await generate(server.url, { ...ASK, fetch: fetchNow })).text(), "one two three")
  assert.equal(server.seen.length, 3)
  assert.equal(new Set(server.seen.map(({ headers }) => headers["idempotency-key"])).size, 1)
})

test("so is one whose answer was lost before it named the stream", async (t) => {
  const head = { "content-type": "text/event-stream" }
  const server = await serve(t, LOG, ({ number }) => (number === 0 ? { head, cut: 30 } : { head }))
  assert.equal(await (await generate(server.url, ASK)).text(), "one two three")
  assert.deepEqual(server.seen.map(({ method }) => method), ["POST", "POST"])
})

test("one that would run twice is not", async (t) => {
  const server = await serve(t, LOG, () => ({ destroy: true }))
  await assert.rejects(generate(server.url, { ...ASK, linger: 0 }), { code: "connection_lost" })
  assert.equal(server.seen.length, 1)
})

test("nor is one that has begun, when its stream has no id", async (t) => {
  for (const linger of [0, "15s"]) {
    const server = await serve(t, LOG, () => ({ head: { "content-type": "text/event-stream" }, ids: false, cut: 30 }))
    const { items, error } = await drain(await generate(server.url, { ...ASK, linger }))
    assert.deepEqual(items, ["one", " two"].slice(0, items.length))
    assert.ok(items.length > 0)
    assert.equal(error.code, "connection_lost")
    assert.equal(server.seen.length, 1)
  }
})

test("a refusal for the moment is tried again a few times, then told", async (t) => {
  const body = JSON.stringify({ error: { message: "too many", code: "rate_limited" } })
  const headers = { "retry-after": "0", "x-request-id": "req_1" }
  const server = await serve(t, LOG, ({ number }) => (number < 5 ? { status: 429, headers, body } : {}))
  await assert.rejects(generate(server.url, { ...ASK, retries: 1 }), (error) => {
    assert.ok(error instanceof StreamError)
    assert.deepEqual([error.code, error.status, error.message, error.requestId], ["rate_limited", 429, "too many", "req_1"])
    return true
  })
  assert.equal(server.seen.length, 2)
})

test("other refusals are told at once, starting and resuming", async (t) => {
  const codes = { 400: "invalid_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 410: "gone", 500: "http_500" }
  for (const [status, code] of Object.entries(codes)) {
    const server = await serve(t, LOG, ({ number }) => (number === 1 ? { cut: 200 } : { status: Number(status), body: "no" }))
    const expected = { name: "StreamError", code, status: Number(status), body: "no", temporary: false }
    await assert.rejects(generate(server.url, ASK), expected)
    const { error } = await drain(await generate(server.url, ASK))
    assert.equal(error.code, code)
    await assert.rejects(resume(server.url, { id: ID }), expected)
    assert.equal(server.seen.length, 4)
  }
})

test("an answer that is no stream is an error", async (t) => {
  const server = await serve(t, LOG, () => ({ status: 200, headers: { "content-type": "text/html" }, body: "hello" }))
  await assert.rejects(generate(server.url, { ...ASK, retries: 0 }), { code: "not_a_stream" })
})

test("an error frame throws after what came before it, and is final", async (t) => {
  const log = [...plain(TOKENS, ""), 'event: error\ndata: {"error":{"message":"it broke","code":"upstream_reset","request_id":"req_2"}}\n']
  const server = await serve(t, log)
  const stream = await generate(server.url, ASK)
  for (let round = 0; round < 2; round++) {
    const { items, error } = await drain(stream)
    assert.deepEqual(items, round === 0 ? TOKENS : [])
    assert.deepEqual([error.code, error.message, error.requestId], ["upstream_reset", "it broke", "req_2"])
  }
  assert.equal(server.seen.length, 1)
  assert.equal(stream.lastEventId, at(log.length))
})

test("leaving the loop closes the connection and cancels nothing; another loop goes on", async (t) => {
  const server = await serve(t, LOG, ({ number }) => (number === 0 ? HANGING : {}))
  const stream = await generate(server.url, ASK)
  for await (const token of stream) {
    assert.equal(token, "one")
    assert.equal(stream.lastEventId, at(1), "the id of what was handed over, not of what came")
    break
  }
  await until("the connection is closed", () => server.state.open === 0)
  assert.equal(server.seen.length, 1)
  assert.deepEqual((await drain(stream)).items, [" two", " three"])
})

test("an iterator is left while it waits", async (t) => {
  const server = await serve(t, LOG, () => HANGING)
  const iterator = (await generate(server.url, ASK))[Symbol.asyncIterator]()
  for (const value of ["one", " two"]) assert.deepEqual(await iterator.next(), { done: false, value })
  const pending = iterator.next()
  await iterator.return()
  assert.deepEqual(await pending, { done: true, value: undefined })
  await until("the connection is closed", () => server.state.open === 0)
})

test("a signal ends the reading with its reason, wherever it is", async (t) => {
  const server = await serve(t, LOG, ({ number }) => (number === 2 ? { status: 503, headers: { "retry-after": "30" } } : HANGING))
  const reason = new Error("enough")
  const reading = new AbortController()
  const stream = await generate(server.url, { ...ASK, signal: reading.signal })
  const seen = drain(stream)
  await until("it hangs", () => server.state.sent === HANGING.cut)
  reading.abort(reason)
  assert.equal((await seen).error, reason)
  await until("the connection is closed", () => server.state.open === 0)
  const unread = new AbortController()
  await generate(server.url, { ...ASK, signal: unread.signal })
  unread.abort(reason)
  await until("the connection that nobody reads is closed", () => server.state.open === 0)
  const waiting = new AbortController()
  const started = generate(server.url, { ...ASK, signal: waiting.signal })
  await until("it was refused", () => server.seen.length === 3)
  waiting.abort(reason)
  await assert.rejects(started, reason)
  await assert.rejects(generate(server.url, { ...ASK, signal: AbortSignal.abort(reason) }), reason)
  assert.equal(server.seen.length, 3)
})

test("cancel asks the server, and the loop ends without an error", async (t) => {
  const failed = 'event: error\ndata: {"error":{"message":"cancelled","code":"cancelled"}}\n'
  const log = [...plain(TOKENS, ""), failed]
  const server = await serve(t, log, ({ number }) => (number === 0 ? { ...HANGING, cut: 200 } : {}))
  const stream = await generate(server.url, { ...ASK, headers: { authorization: "Bearer x" } })
  const items = []
  for await (const token of stream) {
    items.push(token)
    if (items.length > 1) continue
    assert.equal((await stream.cancel()).status, "cancelled")
    const cancel = server.seen.at(-1)
    assert.deepEqual([cancel.method, cancel.path, cancel.headers.authorization], ["POST", `/v1/stream/${ID}/cancel`, "Bearer x"])
    server.listener.closeAllConnections()
  }
  assert.deepEqual(items, TOKENS)
  const other = await drain(await resume(server.url, { id: ID }))
  assert.equal(other.error.code, "cancelled", "whoever did not cancel is told")
})

test("without an id to cancel by, cancel leaves", async (t) => {
  const server = await serve(t, LOG, () => ({ ...HANGING, head: { "content-type": "text/event-stream" }, ids: false, cut: 30 }))
  const stream = await generate(server.url, { ...ASK, linger: 0 })
  await stream.cancel()
  await until("the connection is closed", () => server.state.open === 0)
  assert.deepEqual(await drain(stream), { items: [] })
})

test("two loops at once are refused, and the first goes on", async (t) => {
  const server = await serve(t, LOG)
  const stream = await generate(server.url, ASK)
  const first = stream[Symbol.asyncIterator]()
  await first.next()
  const { error } = await drain(stream)
  assert.ok(error instanceof TypeError)
  assert.deepEqual((await drain(first)).items, [" two", " three"])
})

test("it reads only as its user takes tokens", async (t) => {
  const token = "x".repeat(10_000)
  const log = plain(Array(3000).fill(token))
  const server = await serve(t, log, () => ({ piece: 65_536 }))
  const iterator = (await generate(server.url, ASK))[Symbol.asyncIterator]()
  let taken = 0
  for (const goal of [1, 1000]) {
    while (taken < goal) assert.equal((await iterator.next()).value.length, token.length, `token ${taken++}`)
    // A reader that ran ahead would have all of the 30 MB within this time.
    await sleep(500)
    const ahead = server.state.sent - taken * token.length
    assert.ok(ahead < 12_000_000, `${ahead} bytes are on their way`)
  }
  assert.equal((await drain(iterator)).items.length, 3000 - taken)
})
