// Streams that fail, are cancelled or are forgotten, and requests that can't be met.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"

import { inFrontOf, start as serve } from "../sdk/harness.mjs"
import { DIALECTS, ask, gate, idOf, model, read, start, until } from "./parts.mjs"

const TIMEOUT = { timeout: 60_000 }
const ends = []
const server = {}

before(async () => Object.assign(server, await serve((end) => ends.push(end))))
after(async () => {
  for (const end of ends) await end()
})

/** A server in front of a model that says two tokens and then waits. */
async function hanging(t, { config = "", open = 2 } = {}) {
  const held = gate(open)
  const upstream = await model((end) => t.after(end), { gate: held.wait })
  return { held, upstream, server: await serve((end) => t.after(end), inFrontOf(upstream) + config) }
}

const cancel = (server, id, headers) => ask(server, `/v1/stream/${id}/cancel`, { method: "POST", headers })
const plain = (server, more) => start(server, "plain", more)

for (const [dialect, { end }] of Object.entries(DIALECTS)) {
  test(`${dialect}: a stream that failed is the same to whoever reads it later, and has no end`, TIMEOUT, async () => {
    const stream = await start(server, dialect, { model: "mock-break" })
    const blocks = await stream.rest()
    assert.ok(blocks.length > 10)
    assert.match(blocks.at(-1), /error/)
    assert.ok(!blocks.some((block) => end.test(block)))
    for (let at = 0; at < blocks.length; at++) {
      const rest = await read(server, stream.id, idOf(blocks[at]))
      assert.equal(rest.status, at === blocks.length - 1 ? 204 : 200)
      assert.deepEqual(await rest.rest(), blocks.slice(at + 1))
    }
    assert.equal((await (await cancel(server, stream.id)).json()).status, "failed")
  })

  test(`${dialect}: a cancelled stream tells all of its readers, keeps what was said, and has no end`, TIMEOUT, async (t) => {
    const { server, upstream } = await hanging(t)
    const first = await start(server, dialect)
    const begun = await first.take(2)
    const second = await read(server, first.id)
    const answer = await cancel(server, first.id)
    assert.equal(answer.status, 200)
    const { id, status, next_offset } = await answer.json()
    assert.deepEqual([id, status], [first.id, "cancelled"])
    // At the same time: Node forgets what was not read when a body breaks off.
    const [rest, whole] = await Promise.all([first.rest(), second.rest()])
    const blocks = [...begun, ...rest]
    assert.deepEqual(whole, blocks)
    assert.match(blocks.at(-1), /error|failed/)
    if (!["anthropic", "gemini"].includes(dialect)) assert.match(blocks.slice(-2).join(), /"code":"cancelled"/)
    assert.ok(!blocks.some((block) => end.test(block)))
    assert.equal(idOf(blocks.at(-1)), `${id}.${next_offset}`)
    await upstream.calls[0].gone
    assert.equal(upstream.calls[0].left, true)
    assert.equal((await (await cancel(server, id)).json()).status, "cancelled", "twice is as once")
    assert.equal((await read(server, id, idOf(blocks.at(-1)))).status, 204)
  })
}

test("to cancel what is complete says so and changes nothing", TIMEOUT, async () => {
  const stream = await plain(server, { model: "mock-fast" })
  const blocks = await stream.rest()
  const { status } = await (await cancel(server, stream.id)).json()
  assert.equal(status, "completed")
  assert.deepEqual(await (await read(server, stream.id)).rest(), blocks)
})

test("what is unknown is 404, to read and to cancel", TIMEOUT, async () => {
  const id = `stm_${"A".repeat(22)}`
  assert.equal((await read(server, id)).status, 404)
  assert.equal((await read(server, id, `${id}.00000001_000000000001`)).status, 404)
  assert.equal((await plain(server, { headers: { "last-event-id": `${id}.00000001_000000000001` } })).status, 404)
  assert.equal((await cancel(server, id)).status, 404)
})

test("an id that is none, or of an event that is not there yet, is 400", TIMEOUT, async () => {
  const stream = await plain(server, { model: "mock-fast" })
  const last = idOf((await stream.rest()).at(-1))
  const future = last.replace(/.{4}$/, "ffff")
  const garbage = ["x", "1", "%", stream.id, `${stream.id}.`, `${stream.id}.x`, `${last}0`, `${last} x`, last.slice(0, -1), "a".repeat(5000), future]
  for (const id of garbage) {
    assert.equal((await read(server, stream.id, id)).status, 400, `GET of the stream after ${id.slice(0, 99)}`)
    const query = `last_event_id=${encodeURIComponent(id)}`
    assert.equal((await plain(server, { query })).status, 400, `GET /stream after ${id.slice(0, 99)}`)
  }
})

test("the header goes before the query", TIMEOUT, async () => {
  const stream = await plain(server, { model: "mock-fast" })
  const blocks = await stream.rest()
  const [header, query] = [idOf(blocks.at(-3)), idOf(blocks[0])]
  const rest = await ask(server, `/v1/stream/${stream.id}?last_event_id=${query}`, {
    headers: { accept: "text/event-stream", "last-event-id": header },
  })
  assert.deepEqual(await rest.rest(), blocks.slice(-2))
})

test("what was deleted is gone, and its readers are told", TIMEOUT, async (t) => {
  const { server, upstream } = await hanging(t)
  const stream = await plain(server)
  await stream.take(1)
  assert.equal((await ask(server, `/v1/stream/${stream.id}`, { method: "DELETE" })).status, 204)
  await upstream.calls[0].gone
  await stream.rest()
  assert.equal((await read(server, stream.id)).status, 410)
  assert.equal((await plain(server, { headers: { "last-event-id": `${stream.id}.00000001_000000000001` } })).status, 410)
})

test("what has ended is forgotten after its time", TIMEOUT, async (t) => {
  const short = await serve((end) => t.after(end), '[streams]\nttl = "200ms"\n')
  const stream = await plain(short, { model: "mock-fast" })
  await stream.rest()
  // Each look is a read, which makes its time begin anew: these are further apart than that.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  assert.equal((await read(short, stream.id)).status, 410)
})

test("a stream belongs to whoever started it", TIMEOUT, async () => {
  for (const name of ["authorization", "x-api-key", "x-goog-api-key"]) {
    const mine = { [name]: "Bearer mine" }
    const stream = await plain(server, { model: "mock-fast", headers: mine })
    const blocks = await stream.rest()
    const event = idOf(blocks[0])
    for (const headers of [{}, { [name]: "Bearer other" }]) {
      assert.equal((await read(server, stream.id, event, { headers })).status, 404)
      assert.equal((await plain(server, { headers: { ...headers, "last-event-id": event } })).status, 404)
      assert.equal((await cancel(server, stream.id, headers)).status, 404)
    }
    assert.deepEqual(await (await read(server, stream.id, event, { headers: mine })).rest(), blocks.slice(1))
    assert.equal((await cancel(server, stream.id, mine)).status, 200)
  }
  const open = await plain(server, { model: "mock-fast" })
  await open.rest()
  assert.equal((await read(server, open.id, undefined, { headers: { authorization: "Bearer other" } })).status, 200)
})

test("linger: what is asked for, what is the default, what is too much", TIMEOUT, async () => {
  const events = { accept: "text/event-stream" }
  const lingers = async (path, headers) => {
    const stream = await ask(server, path, { headers })
    assert.equal(stream.status, 200)
    const blocks = await stream.rest()
    assert.equal(blocks.every((block) => Boolean(idOf(block)) === Boolean(stream.id)), true)
    return Boolean(stream.id)
  }
  const path = "/stream?prompt=Hello&model=mock-fast"
  assert.equal(await lingers(path, events), true, "a page's EventSource resumes by itself")
  assert.equal(await lingers("/prompts/summarize?text=x&model=mock-fast", events), true)
  assert.equal(await lingers(path), false)
  assert.equal(await lingers(`${path}&linger=0`, events), false)
  assert.equal(await lingers(`${path}&linger=5`), true)
  assert.equal(await lingers(path, { "x-linger": "1m" }), true)
  for (const linger of ["2h", "soon", "-1", ""]) assert.equal((await ask(server, `${path}&linger=${linger}`)).status, 400, linger)
})

test("the same key is the same stream, once", TIMEOUT, async (t) => {
  const { server, upstream, held } = await hanging(t, { open: 5 })
  const keyed = (headers = {}, model) => start(server, "openai-chat", { model, headers: { "idempotency-key": "k1", ...headers } })
  const first = await keyed()
  await first.take(3)
  const second = await keyed()
  assert.equal(second.id, first.id)
  assert.equal((await keyed({}, "another")).status, 409, "another body")
  const others = await keyed({ authorization: "Bearer other" })
  assert.notEqual(others.id, first.id, "another caller's key is another key")
  held.open()
  const blocks = await second.rest()
  assert.deepEqual(blocks, await (await read(server, first.id)).rest())
  assert.equal(upstream.calls.length, 2)
  const third = await keyed()
  assert.deepEqual([third.id, await third.rest()], [first.id, blocks], "also after its end")
  const racing = await Promise.all(Array.from({ length: 20 }, () => keyed({ "idempotency-key": "k2" })))
  assert.equal(new Set(racing.map(({ id }) => id)).size, 1)
  assert.equal(upstream.calls.length, 3)
  for (const stream of racing) stream.cut()
})

test("one stream has only so many readers", TIMEOUT, async (t) => {
  const { server } = await hanging(t, { config: "[streams]\nmax_readers = 3\n" })
  const first = await plain(server)
  await first.take(1)
  const more = [await read(server, first.id), await read(server, first.id)]
  const refused = await read(server, first.id)
  assert.equal(refused.status, 429)
  more[0].cut()
  await until("there is room again", async () => {
    const stream = await read(server, first.id)
    stream.cut()
    return stream.status === 200
  })
})
