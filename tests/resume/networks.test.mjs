// Through what lies between a client and the server: a real nginx, and a network at its worst.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"

import { generate, resume } from "../../clients/js/src/index.js"
import { inFrontOf, start as serve } from "../sdk/harness.mjs"
import { chance, proxy } from "./chaos.mjs"
import { nginx } from "./nginx.mjs"
import { DIALECTS, TOKENS, ask, bare, gate, idOf, model, read, start } from "./parts.mjs"

const SEED = Number(process.env.TOKENRILL_TEST_SEED ?? Date.now() % 1_000_000_000)
const TIMEOUT = { timeout: 180_000 }
const CYCLES = 300
const ends = []
const server = {}
let upstream

before(async () => {
  upstream = await model((end) => ends.push(end))
  Object.assign(server, await serve((end) => ends.push(end), inFrontOf(upstream)))
})
after(async () => {
  for (const end of ends) await end()
})

const port = ({ url }) => Number(new URL(url).port)

for (const [dialect, { end }] of Object.entries(DIALECTS)) {
  test(`${dialect}: through nginx, cut and resumed`, TIMEOUT, async (t) => {
    const front = await nginx((end) => t.after(end), server)
    for (const step of [1, 40, 90, 199]) {
      const first = await start(front, dialect)
      const heard = await first.take(step)
      first.cut()
      const rest = await read(front, first.id, idOf(heard.at(-1)))
      heard.push(...(await rest.rest()))
      assert.match(heard.at(-1), end)
      assert.deepEqual(heard, await (await read(server, first.id)).rest(), "as without nginx")
    }
  })
}

test("through nginx each event comes when it is said, resumed or not", TIMEOUT, async (t) => {
  const held = gate(0)
  const paced = await model((end) => t.after(end), { gate: held.wait })
  const behind = await serve((end) => t.after(end), inFrontOf(paced) + '[sse]\ncommit_after = "10ms"\n')
  const front = await nginx((end) => t.after(end), behind)
  const first = await start(front, "openai-chat")
  const second = await read(front, first.id)
  assert.equal(second.headers["x-accel-buffering"], undefined, "nginx obeys it and keeps it to itself")
  for (let said = 1; said <= 20; said++) {
    held.open(said)
    const [block] = await first.take(1)
    assert.match(block, /"content"/)
    assert.deepEqual(await second.take(1), [block])
  }
  const third = await read(front, first.id)
  await third.take(20)
  held.open(21)
  assert.equal((await third.take(1)).length, 1)
  for (const stream of [first, second, third]) stream.cut()
})

test("nginx passes on that nothing is left, and that nothing is there", TIMEOUT, async (t) => {
  const front = await nginx((end) => t.after(end), server)
  const stream = await start(front, "plain")
  const last = idOf((await stream.rest()).at(-1))
  assert.equal((await read(front, stream.id, last)).status, 204)
  assert.equal((await read(front, `stm_${"A".repeat(22)}`)).status, 404)
})

test(`${CYCLES} cuts by chance: raw clients that resume by hand`, TIMEOUT, async (t) => {
  const bad = await proxy((end) => t.after(end), port(server), chance(SEED, 30_000))
  const rounds = async ([dialect, { end }]) => {
    while (bad.state.connections < CYCLES) {
      const first = await start(server, dialect)
      const heard = await first.take(1)
      first.cut()
      while (!end.test(heard.at(-1))) heard.push(...(await whatComes(bad, first.id, idOf(heard.at(-1)))))
      const whole = await (await read(server, first.id)).rest()
      assert.deepEqual(heard, whole, `TOKENRILL_TEST_SEED=${SEED}, ${dialect}`)
    }
  }
  await Promise.all(Object.entries(DIALECTS).map(rounds))
})

/** The blocks that arrive whole on one connection. */
async function whatComes(bad, id, after) {
  let text = ""
  try {
    const headers = { accept: "text/event-stream", "last-event-id": after }
    const response = await fetch(`${bad.url}/v1/stream/${id}`, { headers, signal: AbortSignal.timeout(20_000) })
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) text += piece
  } catch {
    // That is what this is about.
  }
  return text.split("\n\n").slice(0, -1).filter((block) => !block.startsWith(":"))
}

test(`${CYCLES} cuts by chance: the client of clients/js`, TIMEOUT, async (t) => {
  const bad = await proxy((end) => t.after(end), port(server), chance(SEED + 1))
  const calls = upstream.calls.length
  const asks = [{ prompt: "Hello", model: "m" }, ...Object.values(DIALECTS).slice(1).map(({ path, body }) => ({ path: path("m"), body: body("m") }))]
  let answers = 0
  const rounds = async (asked) => {
    while (bad.state.connections < CYCLES) {
      const stream = await generate(bad.url, { ...asked, linger: "20s", retries: 1000, silence: 5000 })
      assert.equal(await stream.text(), TOKENS.join(""), `TOKENRILL_TEST_SEED=${SEED}, ${stream.dialect}`)
      answers += 1
    }
  }
  await eager(() => Promise.all(asks.map(rounds)))
  assert.ok(answers >= asks.length)
  assert.equal(upstream.calls.length - calls, answers, `TOKENRILL_TEST_SEED=${SEED}: one generation each`)
})

/** Runs something with Math.random at 0: the client's pauses between attempts are a random part of their most. */
async function eager(run) {
  const { random } = Math
  Math.random = () => 0
  try {
    return await run()
  } finally {
    Math.random = random
  }
}

test("a page that is loaded again after every few tokens, over a bad network", TIMEOUT, async (t) => {
  const bad = await proxy((end) => t.after(end), port(server), chance(SEED + 2, 20_000))
  const first = await generate(server.url, { prompt: "Hello", model: "m", linger: "20s" })
  first.close()
  let place = JSON.stringify(first)
  let text = ""
  await eager(async () => {
    for (let ended = false; !ended; ) {
      const stream = await resume(bad.url, JSON.parse(place))
      let count = 0
      for await (const token of stream) {
        text += token
        if (++count === 7) break
      }
      place = JSON.stringify(stream)
      ended = stream.ended
    }
  })
  assert.equal(text, TOKENS.join(""), `TOKENRILL_TEST_SEED=${SEED}`)
})

test("without linger nothing has changed: no ids, and a cut is the end", TIMEOUT, async () => {
  const stream = await ask(server, "/stream?prompt=Hello&model=m")
  const blocks = await stream.rest()
  assert.deepEqual(blocks.map(bare), blocks)
  assert.equal(stream.headers["x-stream-id"], undefined)
})
