// The example shop, run as its README says: a customer's page sees every event of its order, once, whatever breaks.
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import http from "node:http"
import { createInterface } from "node:readline"
import { after, test } from "node:test"
import { fileURLToPath } from "node:url"

import { shared, within } from "../sdk/harness.mjs"
import { EventSource } from "../sdk/packages.mjs"

const SHOP = fileURLToPath(new URL("../../examples/order-events/shop.mjs", import.meta.url))
const STEPS = ["placed", "paid", "packed", "shipped", "delivered"]
const TIMEOUT = { timeout: 60_000 }

const store = process.env.TOKENRILL_STREAMS_STORE
const server = shared(store ? { TOKENRILL_STREAMS_STORE: store } : {})
const ends = []
after(() => ends.forEach((end) => end()))

async function open(pace) {
  const shop = spawn(process.execPath, [SHOP], {
    env: { ...process.env, TOKENRILL: server.url, PORT: "0", PACE: String(pace) },
    stdio: ["ignore", "pipe", "inherit"],
  })
  ends.push(() => shop.kill("SIGKILL"))
  const line = await within(new Promise((resolve) => createInterface(shop.stdout).once("line", resolve)), "the shop")
  return /http:\S+/.exec(line)[0]
}

/** Reads as the page does: until the browser is told not to come again. */
function watch(url) {
  const source = new EventSource(url)
  ends.push(() => source.close())
  const steps = []
  source.onmessage = ({ data }) => steps.push(JSON.parse(data).step)
  const done = new Promise((resolve) => {
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve(steps)
  })
  return within(done, "the end of the order")
}

test("a page sees its order from the first event to the last, and stops", TIMEOUT, async () => {
  const shop = await open(30)
  const page = await (await fetch(shop)).text()
  assert.match(page, /new EventSource/)
  const { events } = await (await fetch(`${shop}/orders`, { method: "POST" })).json()
  assert.deepEqual(await watch(shop + events), STEPS)
  assert.deepEqual(await watch(shop + events), STEPS, "who comes later sees the same")
})

test("a page whose connection breaks after every event misses none and sees none twice", TIMEOUT, async () => {
  const shop = await open(30)
  const { events } = await (await fetch(`${shop}/orders`, { method: "POST" })).json()
  // Passes on what comes until a message is whole, then breaks the connection.
  const breaking = http.createServer((request, response) => {
    const upstream = http.get(shop + request.url, { headers: request.headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers)
      let text = ""
      answer.on("data", (data) => {
        response.write(data)
        text += data
        if (/data:.*\n\n/.test(text)) setImmediate(() => response.destroy())
      })
      answer.on("end", () => response.end())
    })
    upstream.on("error", () => response.destroy())
    response.on("close", () => upstream.destroy())
  })
  await new Promise((resolve) => breaking.listen(0, "127.0.0.1", resolve))
  ends.push(() => {
    breaking.close()
    breaking.closeAllConnections()
  })
  assert.deepEqual(await watch(`http://127.0.0.1:${breaking.address().port}${events}`), STEPS)
})
