// A thousand readers on one stream, some of which don't read.
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import http from "node:http"
import { test } from "node:test"

import { inFrontOf, start as serve, within } from "../sdk/harness.mjs"
import { ask, gate, model, until } from "./parts.mjs"

const READERS = 1000
const STALLED = 100
const TOKENS = Array.from({ length: 1000 }, (_, n) => `${n} `.padEnd(500, "x"))
const MOST_GROWTH = 96 * 1024 * 1024

test(`${READERS - STALLED} of ${READERS} readers get every token while ${STALLED} don't read`, { timeout: 120_000 }, async (t) => {
  const onEnd = (end) => t.after(end)
  const held = gate(1)
  const upstream = await model(onEnd, { tokens: TOKENS, gate: held.wait })
  const server = await serve(onEnd, inFrontOf(upstream))
  const before = resident(server)
  const first = await ask(server, "/stream?prompt=x&model=m&linger=60s&heartbeat=off")
  const readers = await Promise.all(Array.from({ length: READERS }, () => attach(server, first.id)))
  t.after(() => readers.forEach(({ response }) => response.destroy()))
  const stalled = readers.splice(0, STALLED)
  held.open()
  const expected = Buffer.from((await first.rest()).map((block) => `${block}\n\n`).join(""))
  assert.ok(expected.length > 500_000)
  let peak = 0
  const watch = setInterval(() => (peak = Math.max(peak, resident(server))), 50)
  await within(Promise.all(readers.map((reader) => same(reader, expected))), "all that read", 60_000)
  clearInterval(watch)
  const growth = peak - before
  t.diagnostic(`the server grew by ${(growth / 2 ** 20).toFixed(1)} MiB`)
  assert.ok(growth < MOST_GROWTH, `the server grew by ${growth} bytes`)
  // Those who come to life again have missed nothing.
  await within(Promise.all(stalled.map((reader) => same(reader, expected))), "those that stalled", 60_000)
  assert.equal(upstream.calls.length, 1)
  await until("the server lets go of what it held for them", () => resident(server) < before + MOST_GROWTH)
})

/** Attaches a reader that doesn't read yet. */
function attach(server, id) {
  return new Promise((resolve, reject) => {
    const headers = { accept: "text/event-stream" }
    const request = http.get(`${server.url}/v1/stream/${id}?heartbeat=off`, { agent: false, headers }, (response) => {
      assert.equal(response.statusCode, 200)
      resolve({ response })
    })
    request.once("error", reject)
  })
}

/** Reads a response to its end: it has to be those bytes. */
async function same({ response }, expected) {
  let at = 0
  for await (const piece of response) {
    assert.ok(piece.equals(expected.subarray(at, at + piece.length)), `other bytes at ${at}`)
    at += piece.length
  }
  assert.equal(at, expected.length)
}

/** The memory that a server's process holds. */
function resident({ pid }) {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024
}
