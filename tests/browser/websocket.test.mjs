// Generations over one WebSocket of a page.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"

import { generations, until } from "../resume/parts.mjs"
import { browser, world } from "./parts.mjs"

const TIMEOUT = { timeout: 60_000 }
const ends = []
let context

before(async () => (context = await browser((end) => ends.push(end))))
after(async () => {
  for (const end of ends) await end()
})

/** Opens a socket in the page; what it is told lies in `window.told`. */
async function connect(tab, url) {
  await tab.evaluate(async (url) => {
    const socket = new WebSocket(url)
    Object.assign(window, { socket, told: [] })
    socket.onmessage = ({ data }) => window.told.push(JSON.parse(data))
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }))
  }, url)
}

const say = (tab, message) => tab.evaluate((message) => window.socket.send(message), JSON.stringify(message))
const told = (tab) => tab.evaluate("window.told")
const text = (messages, id) => messages.filter((message) => message.type === "event" && message.id === id).map(({ data }) => data)

test("two generations at once, one of them cancelled: the other is whole", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const tab = await stage.open()
  await connect(tab, `${stage.api.replace("http", "ws")}/v1/ws`)
  for (const id of ["kept", "cancelled"]) {
    await say(tab, { type: "start", id, path: "/stream", body: { model: "mock", prompt: "Hello" } })
  }
  await tab.waitForFunction(() => ["kept", "cancelled"].every((id) => window.told.filter((m) => m.id === id && m.type === "event").length >= 5))
  await say(tab, { type: "cancel", id: "cancelled" })
  await tab.waitForFunction(() => window.told.filter((message) => message.type === "end").length === 2, null, { timeout: 30_000 })
  const messages = await told(tab)
  const status = (id) => messages.find((message) => message.type === "end" && message.id === id).status
  assert.deepEqual([status("kept"), status("cancelled")], ["completed", "cancelled"])
  const [whole, part] = [text(messages, "kept"), text(messages, "cancelled")]
  assert.equal(whole.at(-1), "[DONE]")
  // Its last event is the error that says so.
  assert.equal(JSON.parse(part.at(-1)).error.code, "cancelled")
  assert.deepEqual(part.slice(0, -1), whole.slice(0, part.length - 1), "the same request, the same tokens")
  assert.ok(part.length < whole.length)
  const lines = await until("both generations' lines", () => generations(stage.back).length === 2 && generations(stage.back))
  assert.deepEqual(lines.map(({ ended }) => ended).sort(), ["client_left", "complete"])
  await tab.close()
})

test("a page of an origin that is not allowed gets no socket", TIMEOUT, async (t) => {
  const stage = await world((end) => t.after(end), context)
  const other = await world((end) => t.after(end), context)
  const tab = await other.open()
  await assert.rejects(connect(tab, `${stage.api.replace("http", "ws")}/v1/ws`))
  await tab.close()
})
