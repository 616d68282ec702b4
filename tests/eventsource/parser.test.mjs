// What the plain dialect writes, read by an independent parser of the EventSource format, over random texts cut at
// random places.
import assert from "node:assert/strict"
import { test } from "node:test"

import { shared } from "../sdk/harness.mjs"
import { createParser } from "../sdk/packages.mjs"

const SEED = Number(process.env.TOKENRILL_TEST_SEED ?? Date.now() % 1_000_000_000)
const ROUNDS = 300
const PIECES = [
  "\n", "\r", "\r\n", "\n\n", "\r\r", " ", "  ", ":", "data:", "data: ", "[DONE]", "data: [DONE]\n\n", "event: error\n",
  "id: 1\n", "retry: 1\n", '"', "\\", "\\n", "\t", "\u0000", "\u000b", "\u0085", "\u2028", "\ufeff", "a", "word", " word",
  "antidisestablishmentarianism", "é", "e\u0301", "你好", "世界很大很大很大很大很大", "🌊", "👩‍👩‍👧", "🏳️‍🌈", "{{x}}", "<b>",
]

const server = shared()

/** A small random source, so that a seed repeats a failure. */
function randomOf(seed) {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

function randomText(random) {
  return Array.from({ length: 1 + random(30) }, () => PIECES[random(PIECES.length)]).join("")
}

/** All events of a response's bytes, fed to the parser in pieces of random size, cut anywhere. */
function parse(bytes, random) {
  const events = []
  const wrong = []
  const parser = createParser({ onEvent: (event) => events.push(event), onError: (error) => wrong.push(error) })
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true })
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + random(random(4) === 0 ? 200 : 4)
    parser.feed(decoder.decode(bytes.subarray(at, at + size), { stream: true }))
    at += size
  }
  decoder.decode()
  assert.deepEqual(wrong, [])
  return events
}

/** The data of all frames before the first `[DONE]`, which has to be the last frame. */
function said(events) {
  const end = events.findIndex((event) => event.data === "[DONE]")
  assert.equal(end, events.length - 1, "the first [DONE] is the end")
  for (const event of events) assert.equal(event.event ?? "message", "message")
  return events.slice(0, end).map((event) => event.data)
}

async function ask(prompt, query = "") {
  const response = await fetch(`${server.url}/stream${query}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt, model: "mock-echo" }),
  })
  assert.equal(response.status, 200)
  return new Uint8Array(await response.arrayBuffer())
}

test("any text in any pieces is read back, its line ends as line feeds", { timeout: 120_000 }, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const random = randomOf(SEED + round)
    const text = randomText(random)
    const read = said(parse(await ask(text), random)).join("")
    assert.equal(read, text.replace(/\r\n|\r/g, "\n"), `TOKENRILL_TEST_SEED=${SEED}, round ${round}`)
  }
})

test("as JSON any text in any pieces is read back to the byte", { timeout: 120_000 }, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const random = randomOf(SEED + round)
    const text = randomText(random)
    const frames = said(parse(await ask(text, "?encoding=json"), random))
    assert.equal(frames.map((data) => JSON.parse(data)).join(""), text, `TOKENRILL_TEST_SEED=${SEED}, round ${round}`)
  }
})

test("a long text is read back", { timeout: 120_000 }, async () => {
  const random = randomOf(SEED)
  const text = Array.from({ length: 20_000 }, () => PIECES[random(PIECES.length)]).join("")
  const read = said(parse(await ask(text), random)).join("")
  assert.ok(read === text.replace(/\r\n|\r/g, "\n"), `TOKENRILL_TEST_SEED=${SEED}`)
})
