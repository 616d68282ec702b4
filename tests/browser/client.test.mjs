// The client of clients/js in a page: start, go on after a loss, leave, cancel.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"

import { generations, until } from "../resume/parts.mjs"
import { browser, world } from "./parts.mjs"

const TIMEOUT = { timeout: 60_000 }
const ends = []
let context

before(async () => (context = await browser((end) => ends.push(end))))
after(async () => {
  for (const end of ends) await end()
})

/** Starts an answer in a tab; its pieces are in `window.pieces`, how it ended in `window.outcome`. */
async function begin(tab, api, options) {
  await tab.evaluate(
    async ([api, options]) => {
      window.pieces = []
      window.stream = await window.client.generate(api, options)
      window.reading = (async () => {
        for await (const piece of window.stream) window.pieces.push(piece)
      })().then(
        () => (window.outcome = "ended"),
        (error) => (window.outcome = error.code ?? String(error)),
      )
    },
    [api, { prompt: "Hello", model: "mock", ...options }],
  )
}

const some = (tab, most) => tab.waitForFunction((most) => window.pieces.length >= most, most, { timeout: 30_000 })
const outcome = async (tab) => (await tab.waitForFunction("window.outcome", null, { timeout: 30_000 })).jsonValue()

/** The same answer, asked for without trouble on the way. */
async function whole({ front }) {
  const response = await fetch(`${front.url}/stream?prompt=Hello&model=mock&encoding=json`)
  const blocks = (await response.text()).split("\n\n").filter((block) => block.startsWith("data: \""))
  return blocks.map((block) => JSON.parse(block.slice(6)))
}

test("an answer, piece by piece, from another origin", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const tab = await stage.open()
  await begin(tab, stage.api)
  await some(tab, 5)
  assert.equal(await tab.evaluate("window.outcome"), undefined, "pieces come while the model talks")
  assert.match(await tab.evaluate("window.stream.id"), /^stm_/)
  assert.equal(await outcome(tab), "ended")
  assert.deepEqual(await tab.evaluate("window.pieces"), await whole(stage))
  await tab.close()
})

for (const [name, lose, find] of [
  ["offline", () => context.setOffline(true), () => context.setOffline(false)],
  ["cut off", ({ network }) => network.away(), ({ network }) => network.away(false)],
]) {
  test(`${name} for three seconds: it goes on, each piece once`, TIMEOUT, async (t) => {
    const stage = await world((end) => t.after(end), context)
    const tab = await stage.open()
    await begin(tab, stage.api)
    await some(tab, 10)
    await lose(stage)
    if (name === "offline") stage.network.cut()
    await sleep(3000)
    assert.equal(await tab.evaluate("window.outcome"), undefined)
    const before = await tab.evaluate("window.pieces.length")
    await find(stage)
    assert.equal(await outcome(tab), "ended")
    const pieces = await tab.evaluate("window.pieces")
    assert.ok(pieces.length > before)
    const records = await until("the generation's line", () => generations(stage.back).length && generations(stage.back))
    assert.equal(records.length, 1)
    assert.deepEqual(pieces, await whole(stage))
    await tab.close()
  })
}

test("cancel stops the model at once, and the loop ends", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const tab = await stage.open()
  await begin(tab, stage.api, { model: "mock-stall" })
  await some(tab, 10)
  const { status } = await tab.evaluate(() => window.stream.cancel())
  assert.equal(status, "cancelled")
  assert.equal(await outcome(tab), "ended")
  assert.equal((await until("the model was left", () => generations(stage.back)[0])).ended, "client_left")
  await tab.close()
})

test("with a caller's key: other origins may send it, and only its caller resumes", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const tab = await stage.open()
  await begin(tab, stage.api, { headers: { authorization: "Bearer mine" } })
  await some(tab, 3)
  const resumed = (headers) =>
    tab.evaluate(
      async ([api, headers]) => {
        try {
          const again = await window.client.resume(api, { ...window.stream.toJSON(), headers })
          return (await again.text()).length > 0
        } catch (error) {
          return error.status
        }
      },
      [stage.api, headers],
    )
  assert.equal(await resumed({}), 404)
  assert.equal(await resumed({ authorization: "Bearer mine" }), true)
  await tab.close()
})

test("another page goes on where one was closed", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const tab = await stage.open()
  await begin(tab, stage.api)
  await some(tab, 10)
  // Both at one moment: a piece that comes in between would be lost or be there twice.
  const [before, place] = await tab.evaluate(() => [window.pieces.slice(), window.stream.toJSON()])
  await tab.close()
  const next = await stage.open()
  const rest = await next.evaluate(
    async ([api, place]) => {
      const pieces = []
      for await (const piece of await window.client.resume(api, place)) pieces.push(piece)
      return pieces
    },
    [stage.api, place],
  )
  const pieces = [...before, ...rest]
  assert.deepEqual(pieces, await whole(stage))
  await next.close()
})
