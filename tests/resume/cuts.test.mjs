// A client that is cut off anywhere and comes back has, all in all, the bytes of one that was not.
import assert from "node:assert/strict"
import http from "node:http"
import { after, before, test } from "node:test"

import { inFrontOf, start as serve } from "../sdk/harness.mjs"
import { DIALECTS, TOKENS, ask, bare, idOf, model, read, start } from "./parts.mjs"

const TIMEOUT = { timeout: 120_000 }
const ends = []
const server = {}
const agent = new http.Agent({ keepAlive: true })
let upstream

before(async () => {
  upstream = await model((end) => ends.push(end))
  Object.assign(server, await serve((end) => ends.push(end), inFrontOf(upstream)))
})
after(async () => {
  agent.destroy()
  for (const end of ends) await end()
})

for (const [dialect, { end }] of Object.entries(DIALECTS)) {
  test(`${dialect}: ids and the end of a stream that nobody cuts`, TIMEOUT, async () => {
    const whole = await start(server, dialect)
    assert.equal(whole.status, 200)
    assert.match(whole.id, /^stm_[\w-]{22}$/)
    const blocks = await whole.rest()
    assert.ok(blocks.length >= TOKENS.length)
    assert.deepEqual(blocks.map((block, at) => [/^retry: (.*)$/m.exec(block)?.[1], at]), blocks.map((_, at) => [at ? undefined : "1000", at]))
    const ids = blocks.map(idOf)
    assert.equal(new Set(ids).size, blocks.length)
    for (const id of ids) assert.match(id, new RegExp(`^${whole.id}\\.[0-9a-f]{8}_[0-9a-f]{12}$`))
    assert.deepEqual([...ids].sort(), ids, "offsets sort as text")
    for (const block of blocks) assert.match(bare(block), /^data:/m, "each id comes with data")
    assert.match(blocks.at(-1), end)
    assert.equal(blocks.filter((block) => end.test(block)).length, 1)
  })

  test(`${dialect}: after every event, on both endpoints, the rest`, TIMEOUT, async () => {
    const whole = await start(server, dialect)
    const blocks = await whole.rest()
    assert.deepEqual(await (await read(server, whole.id)).rest(), blocks, "from the start")
    const calls = upstream.calls.length
    for (const [at, block] of blocks.entries()) {
      const id = idOf(block)
      const there = at % 2 ? { headers: { "last-event-id": id } } : { query: `last_event_id=${id}` }
      const found = [await read(server, whole.id, id, { agent }), await start(server, dialect, { ...there, agent, model: "other" })]
      for (const stream of found) {
        assert.equal(stream.status, at === blocks.length - 1 ? 204 : 200, `after event ${at}`)
        assert.deepEqual(await stream.rest(), blocks.slice(at + 1), `after event ${at}`)
      }
    }
    assert.equal(upstream.calls.length, calls, "nothing was started")
  })

  test(`${dialect}: cut while the model talks, at many places, again and again`, TIMEOUT, async () => {
    for (let step = 1; step <= TOKENS.length; step += step < 20 ? 4 : 30) {
      const calls = upstream.calls.length
      const first = await start(server, dialect)
      const heard = await first.take(step)
      first.cut()
      while (!end.test(heard.at(-1))) {
        const headers = { "last-event-id": idOf(heard.at(-1)) }
        const again = heard.length % 2 ? await start(server, dialect, { headers }) : await read(server, first.id, headers["last-event-id"])
        assert.equal(again.status, 200)
        const more = await takeUpTo(again, step, end)
        assert.ok(more.length > 0, "it goes on")
        heard.push(...more)
        again.cut()
      }
      const blocks = await (await read(server, first.id)).rest()
      assert.deepEqual(heard, blocks, `cut every ${step} blocks`)
      assert.equal(upstream.calls.length, calls + 1, "one generation")
    }
  })
}

/** So many blocks, or fewer where the stream ends. */
async function takeUpTo(stream, count, end) {
  const taken = []
  while (taken.length < count) {
    taken.push(...(await stream.take(1)))
    if (end.test(taken.at(-1))) break
  }
  return taken
}

test("without ids and hints a lingering stream is one that does not linger", TIMEOUT, async () => {
  const path = "/stream?prompt=Hello&model=m"
  const lingering = await ask(server, `${path}&linger=5s`)
  const other = await ask(server, path)
  assert.ok(lingering.id)
  assert.equal(other.id, undefined)
  assert.deepEqual((await lingering.rest()).map(bare), await other.rest())
})
