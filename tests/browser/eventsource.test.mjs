// A page's EventSource in a real browser: reloads, lost networks, closed tabs, several tabs.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"

import { generations, read, until } from "../resume/parts.mjs"
import { browser, world } from "./parts.mjs"

const TIMEOUT = { timeout: 60_000 }
const ends = []
let context

before(async () => (context = await browser((end) => ends.push(end))))
after(async () => {
  for (const end of ends) await end()
})

const heard = (tab) => tab.evaluate("window.heard")
const ended = (tab) => tab.waitForFunction("window.heard?.ended", null, { timeout: 30_000 })
const count = (tab, most) => tab.waitForFunction((most) => window.heard?.events.length >= most, most, { timeout: 30_000 })

/** What the server keeps of the stream that a page heard, as the page should have heard it. */
async function kept({ front }, { events }) {
  const id = events[0].id.split(".")[0]
  const blocks = await (await read(front, id)).rest()
  return blocks.map((block) => ({ id: /^id: (.*)$/m.exec(block)[1], data: block.match(/^data: ?.*$/gm).map((line) => line.slice(6)).join("\n") }))
}

test("reloaded in the middle, twice, a page shows the whole answer", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const tab = await stage.open()
  await tab.evaluate((url) => void window.listen(url), `${stage.api}/stream?prompt=Hello&model=mock`)
  for (const most of [10, 30]) {
    await count(tab, most)
    await tab.reload()
    await tab.waitForFunction("window.ready")
  }
  await ended(tab)
  const seen = await heard(tab)
  assert.deepEqual(seen.events, await kept(stage, seen))
  const [generation, ...more] = await until("the generation's line", () => generations(stage.back).length && generations(stage.back))
  assert.deepEqual([generation.ended, more], ["complete", []])
  await tab.close()
})

for (const [name, lose, find] of [
  ["the browser is offline", () => context.setOffline(true), () => context.setOffline(false)],
  ["the server can't be reached", ({ network }) => network.away(), ({ network }) => network.away(false)],
]) {
  test(`${name} for three seconds: it goes on by itself, each token once`, TIMEOUT, async (t) => {
    const stage = await world((end) => t.after(end), context)
    const tab = await stage.open()
    await tab.evaluate((url) => void window.listen(url), `${stage.api}/stream?prompt=Hello&model=mock`)
    await count(tab, 10)
    await lose(stage)
    if (name.includes("offline")) stage.network.cut()
    await sleep(3000)
    const before = await heard(tab)
    assert.equal(before.ended, false)
    await find(stage)
    await ended(tab)
    const seen = await heard(tab)
    assert.deepEqual(seen.events, await kept(stage, seen))
    assert.ok(seen.opened > 1, "the connection was lost")
    assert.equal(generations(stage.back).length, 1)
    await tab.close()
  })
}

test("after the end a page that stays is told that nothing is left, and asks no more", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const tab = await stage.open()
  for (const model of ["mock-fast", "mock-break"]) {
    const before = stage.network.state.connections
    await tab.evaluate((url) => void window.listen(url), `${stage.api}/stream?prompt=Hello&model=${model}`)
    await tab.waitForFunction("window.source.readyState === EventSource.CLOSED", null, { timeout: 30_000 })
    const { events, errors, opened } = await heard(tab)
    assert.equal(opened, 1)
    assert.equal(new Set(events.map(({ id }) => id)).size, events.length)
    if (model === "mock-break") assert.deepEqual([errors.length, events.length], [1, 10])
    else assert.deepEqual([errors, events.at(-1).data], [[], "[DONE]"])
    assert.ok(stage.network.state.connections - before <= 2)
  }
  await tab.close()
})

test("a closed tab: the model is left after linger", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const tab = await stage.open()
  await tab.evaluate((url) => void window.listen(url), `${stage.api}/stream?prompt=Hello&model=mock-stall&linger=1s`)
  await count(tab, 10)
  await sleep(1500)
  assert.deepEqual(generations(stage.back), [], "not as long as the tab is there")
  const since = performance.now()
  await tab.close()
  const generation = await until("the model was left", () => generations(stage.back)[0])
  assert.equal(generation.ended, "client_left")
  assert.ok(performance.now() - since > 900, "a page may come back within linger")
})

test("several tabs on one stream hear the same, from one model", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const first = await stage.open()
  await first.evaluate((url) => void window.listen(url), `${stage.api}/stream?prompt=Hello&model=mock`)
  await count(first, 5)
  const id = (await heard(first)).events[0].id.split(".")[0]
  const others = await Promise.all([stage.open(), stage.open(), stage.open()])
  for (const tab of others) await tab.evaluate((url) => void window.listen(url), `${stage.api}/v1/stream/${id}?`)
  for (const tab of others.slice(0, 1)) {
    await count(tab, 10)
    await tab.close()
  }
  for (const tab of [first, ...others.slice(1)]) {
    await ended(tab)
    const seen = await heard(tab)
    assert.deepEqual(seen.events, await kept(stage, seen))
    await tab.close()
  }
  assert.deepEqual(generations(stage.back).map(({ ended }) => ended), ["complete"])
})
