// Losses of every kind: each token arrives once, whatever the network does.
import assert from "node:assert/strict"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"

import { StreamError, generate, resume } from "tokenrill"
import { ID, at, drain, plain, serve, until } from "./fake.js"

const TOKENS = ["Grüße", " \n\r", "你好 🌊", "", "[DONE]", "data: x\n\n", " and", " on", "."]
const LOG = plain(TOKENS)
const ASK = { prompt: "Hello" }
const size = (log) => Buffer.byteLength(log.map((lines, index) => `id: ${at(index + 1)}\n${lines}\n`).join("")) + 20

test("a connection that is cut at any byte", async (t) => {
  const check = async (cut) => {
    const server = await serve(t, LOG, ({ number }) => (number === 0 ? { cut } : {}))
    const { items, error } = await drain(await generate(server.url, ASK))
    assert.equal(error, undefined, `cut at ${cut}`)
    assert.deepEqual(items, TOKENS.filter(Boolean), `cut at ${cut}`)
    assert.equal(server.seen.filter(({ method }) => method === "POST").length, 1, "one generation")
    server.listener.closeAllConnections()
    server.listener.close()
  }
  const cuts = Array.from({ length: size(LOG) }, (_, cut) => cut)
  while (cuts.length > 0) await Promise.all(cuts.splice(0, 100).map(check))
})

for (const clean of [false, true]) {
  test(`a connection that is ${clean ? "closed" : "cut"} again and again, in pieces of any size`, async (t) => {
    for (const cut of [130, 171, 200, 333]) {
      for (const piece of [1, 2, 7, 64]) {
        const server = await serve(t, LOG, () => ({ cut, piece, clean }))
        const stream = await generate(server.url, ASK)
        const { items, error } = await drain(stream.events())
        assert.equal(error, undefined)
        assert.deepEqual(items.map(({ id }) => id), LOG.map((_, index) => at(index + 1)))
        assert.deepEqual(items.map(({ data }) => `data: ${data}\n`), LOG)
        assert.ok(server.seen.length > 1, "it was cut")
        assert.equal(stream.lastEventId, at(LOG.length))
      }
    }
  })
}

test("a server that is away for a while", async (t) => {
  const answers = [
    { destroy: true },
    { status: 502, body: "<html>Bad Gateway" },
    { status: 503, headers: { "retry-after": "0" } },
    { status: 504 },
    { status: 429, headers: { "retry-after": new Date(Date.now() - 1000).toUTCString() } },
    { status: 200, headers: { "content-type": "text/html" }, body: "<h1>Welcome to the hotel" },
    { cut: 0, clean: true },
    { cut: 70 },
  ]
  const server = await serve(t, LOG, ({ number }) => (number === 0 ? { cut: 200 } : (answers[number - 1] ?? {})))
  const { items, error } = await drain(await generate(server.url, ASK))
  assert.equal(error, undefined)
  assert.deepEqual(items, TOKENS.filter(Boolean))
  assert.equal(server.seen.length, answers.length + 2)
})

test("a server that is started again on its port", async (t) => {
  const first = await serve(t, LOG, () => ({ cut: 200, stall: true }))
  const stream = await generate(first.url, ASK)
  const heard = []
  const reading = (async () => {
    for await (const token of stream) heard.push(token)
  })()
  await until("tokens came", () => heard.length > 0)
  const { port } = first.listener.address()
  first.listener.closeAllConnections()
  await new Promise((resolve) => first.listener.close(resolve))
  await sleep(50)
  const second = await serve(t, LOG)
  // The same port: what listens there now passes everything to the second.
  const { createServer, connect } = await import("node:net")
  const pass = createServer((socket) => socket.pipe(connect(second.listener.address().port, "127.0.0.1")).pipe(socket))
  await new Promise((resolve) => pass.listen(port, "127.0.0.1", resolve))
  t.after(() => pass.close())
  await reading
  assert.deepEqual(heard, TOKENS.filter(Boolean))
})

test("retry-after is waited for", async (t) => {
  const server = await serve(t, LOG, ({ number }) => (number === 1 ? { status: 503, headers: { "retry-after": "1" } } : { cut: 300 * (number + 1) }))
  const since = performance.now()
  assert.deepEqual((await drain(await generate(server.url, ASK))).items, TOKENS.filter(Boolean))
  assert.ok(performance.now() - since >= 1000)
})

test("a connection that falls silent counts as lost", async (t) => {
  const server = await serve(t, LOG, ({ number }) => (number === 0 ? { cut: 200, stall: true } : {}))
  const { items, error } = await drain(await generate(server.url, { ...ASK, silence: 200 }))
  assert.equal(error, undefined)
  assert.deepEqual(items, TOKENS.filter(Boolean))
})

test("one that is slow but sends comments does not", async (t) => {
  const server = await serve(t, LOG, () => ({ before: ": heartbeat\n\n".repeat(20), piece: 13 }))
  assert.deepEqual((await drain(await generate(server.url, { ...ASK, silence: 1000 }))).items, TOKENS.filter(Boolean))
  assert.equal(server.seen.length, 1)
})

test("it gives up when its patience is over, and what came has been delivered", async (t) => {
  const server = await serve(t, LOG, ({ number }) => (number === 0 ? { cut: 200 } : { destroy: true }))
  const { items, error } = await drain(await generate(server.url, { ...ASK, patience: 300 }))
  assert.ok(error instanceof StreamError)
  assert.equal(error.code, "connection_lost")
  assert.equal(error.temporary, true)
  assert.ok(items.length > 0 && items.length < 5)
  assert.deepEqual(items, TOKENS.slice(0, items.length))
})

test("answers without a frame in them don't make it patient for ever", async (t) => {
  const server = await serve(t, LOG, ({ number }) => (number === 0 ? { cut: 200 } : { cut: 0, clean: true }))
  const { error } = await drain(await generate(server.url, { ...ASK, patience: 300 }))
  assert.equal(error.code, "connection_lost")
})

test("a retry-after beyond its patience is not waited for", async (t) => {
  const server = await serve(t, LOG, ({ number }) => (number === 0 ? { cut: 200 } : { status: 503, headers: { "retry-after": "600" } }))
  const { error } = await drain(await generate(server.url, { ...ASK, patience: 5000 }))
  assert.equal(error.code, "connection_lost")
  assert.equal(error.status, 503)
})

test("back online it resumes at once, on a new connection", async (t) => {
  const window = new EventTarget()
  globalThis.addEventListener = window.addEventListener.bind(window)
  globalThis.removeEventListener = window.removeEventListener.bind(window)
  t.after(() => {
    delete globalThis.addEventListener
    delete globalThis.removeEventListener
  })
  const server = await serve(t, LOG, ({ number }) =>
    number === 0 ? { cut: 200, stall: true } : number === 1 ? { status: 503, headers: { "retry-after": "50" } } : {})
  const reading = drain(await generate(server.url, ASK))
  for (const count of [1, 2]) {
    await until("it reads or waits", () => server.seen.length === count && (count === 2 || server.state.sent === 200))
    await until("it comes back", () => {
      window.dispatchEvent(new Event("online"))
      return server.seen.length > count
    })
  }
  assert.deepEqual((await reading).items, TOKENS.filter(Boolean))
})

test("an id without an event is where it goes on", async (t) => {
  const log = [`data: "a"\n`, "", "", `data: "b"\n`, "data: [DONE]\n"]
  const upTo = Buffer.byteLength(`retry: 1\nid: ${at(1)}\n${log[0]}\nid: ${at(2)}\n\nid: ${at(3)}\n\n`)
  const server = await serve(t, log, ({ number }) => (number === 0 ? { cut: upTo } : {}))
  assert.deepEqual((await drain(await generate(server.url, ASK))).items, ["a", "b"])
  assert.equal(server.seen[1].query.get("last_event_id"), at(3))
})

test("after a reload: an id is all it takes, at every place", async (t) => {
  const server = await serve(t, LOG)
  let stored
  let count = 0
  const items = []
  stored = JSON.stringify(await generate(server.url, ASK))
  for (; ; count++) {
    const stream = await resume(server.url, JSON.parse(stored))
    const next = await stream[Symbol.asyncIterator]().next()
    stored = JSON.stringify(stream)
    stream.close()
    if (next.done) break
    items.push(next.value)
  }
  assert.deepEqual(items, TOKENS.filter(Boolean))
  assert.equal(count, items.length)
  assert.deepEqual(JSON.parse(stored), { id: ID, lastEventId: at(LOG.length), dialect: "plain-json" })
})

test("resume takes an event's id alone, a stream's id alone, or a stream", async (t) => {
  const server = await serve(t, LOG)
  assert.deepEqual((await drain(await resume(server.url, { lastEventId: at(7) }))).items, [" on", "."])
  assert.deepEqual((await drain(await resume(server.url, { id: ID }))).items, TOKENS.filter(Boolean))
  const stream = await generate(`${server.url}/`, ASK)
  for await (const token of stream) if (token === " and") break
  assert.deepEqual((await drain(await resume(server.url, stream))).items, [" on", "."])
  await assert.rejects(resume(server.url, {}), TypeError)
  await assert.rejects(resume(server.url, { id: ID, dialect: "morse" }), /no dialect "morse"/)
})

test("nothing left is an end", async (t) => {
  const server = await serve(t, LOG)
  const stream = await resume(server.url, { lastEventId: at(LOG.length) })
  assert.equal(stream.ended, true)
  assert.deepEqual(await drain(stream), { items: [] })
})
