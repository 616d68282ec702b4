// How long a model goes on for nobody: one server in front of another, whose log says when it was left.
import assert from "node:assert/strict"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"

import { inFrontOf, start as serve } from "../sdk/harness.mjs"
import { ask, generations, idOf, read, until } from "./parts.mjs"

const TIMEOUT = { timeout: 60_000 }
const LINGER = 600

async function chain(t) {
  const onEnd = (end) => t.after(end)
  const back = await serve(onEnd)
  return { back, front: await serve(onEnd, inFrontOf(back)) }
}

/** A stream that says ten tokens and then stalls, and its ten blocks. */
async function stalled(front) {
  const stream = await ask(front, `/stream?model=mock-stall&prompt=Hello&linger=${LINGER}ms`)
  return { stream, blocks: await stream.take(10) }
}

const left = (back) => until("the model's server was left", () => generations(back)[0])

test("a model that nobody hears any more is left after linger, and not before", TIMEOUT, async (t) => {
  const { back, front } = await chain(t)
  const { stream, blocks } = await stalled(front)
  stream.cut()
  const since = performance.now()
  const { ended } = await left(back)
  const waited = performance.now() - since
  assert.equal(ended, "client_left")
  assert.ok(waited > LINGER - 50 && waited < LINGER + 1000, `after ${waited} ms`)
  const rest = await (await read(front, stream.id, idOf(blocks.at(-1)))).rest()
  assert.equal(rest.length, 1)
  assert.match(rest[0], /"code":"abandoned"/)
  assert.equal((await read(front, stream.id, idOf(rest[0]))).status, 204)
})

test("one reader of several is enough to keep it", TIMEOUT, async (t) => {
  const { back, front } = await chain(t)
  const { stream, blocks } = await stalled(front)
  const other = await read(front, stream.id)
  assert.deepEqual(await other.take(10), blocks)
  stream.cut()
  // Long enough for whoever counted wrong.
  await sleep(3 * LINGER)
  assert.deepEqual(generations(back), [])
  other.cut()
  assert.equal((await left(back)).ended, "client_left")
})

test("a reader that comes back in time keeps it, and the time begins anew", TIMEOUT, async (t) => {
  const { back, front } = await chain(t)
  const { stream, blocks } = await stalled(front)
  let last = stream
  for (let round = 0; round < 4; round++) {
    last.cut()
    await sleep(LINGER / 2)
    last = await read(front, stream.id, idOf(blocks[4]))
    assert.deepEqual(await last.take(5), blocks.slice(5))
  }
  assert.deepEqual(generations(back), [])
  last.cut()
  assert.equal((await left(back)).ended, "client_left")
})

test("an answer is finished for nobody, within linger, and is there to be read", TIMEOUT, async (t) => {
  const { back, front } = await chain(t)
  const stream = await ask(front, "/stream?model=mock&prompt=Hello&linger=30s")
  const blocks = await stream.take(3)
  stream.cut()
  assert.equal((await left(back)).ended, "complete")
  const rest = await (await read(front, stream.id, idOf(blocks.at(-1)))).rest()
  assert.match(rest.at(-1), /^data: \[DONE\]$/m)
})

test("without linger a client that leaves is the end at once", TIMEOUT, async (t) => {
  const { back, front } = await chain(t)
  const stream = await ask(front, "/stream?model=mock-stall&prompt=Hello")
  await stream.take(10)
  const since = performance.now()
  stream.cut()
  assert.equal((await left(back)).ended, "client_left")
  assert.ok(performance.now() - since < 500)
})

test("cancel reaches the model at once", TIMEOUT, async (t) => {
  const { back, front } = await chain(t)
  const { stream } = await stalled(front)
  const since = performance.now()
  await ask(front, `/v1/stream/${stream.id}/cancel`, { method: "POST" })
  assert.equal((await left(back)).ended, "client_left")
  assert.ok(performance.now() - since < 500)
})
