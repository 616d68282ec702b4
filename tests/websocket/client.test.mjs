// The socket, with the client that most of Node uses.
import assert from "node:assert/strict"
import { once } from "node:events"
import { test } from "node:test"

import { inFrontOf, shared, start, upstream, frame, within } from "../sdk/harness.mjs"
import { WebSocket } from "../sdk/packages.mjs"

const server = shared()

/** Opens a socket; its messages are collected by their id. */
async function open(url, options = {}) {
  const ws = new WebSocket(`${url.replace("http", "ws")}/v1/ws`, options)
  const heard = new Map()
  const waiting = new Map()
  ws.on("message", (text, binary) => {
    assert.equal(binary, false)
    const message = JSON.parse(text)
    heard.set(message.id, [...(heard.get(message.id) ?? []), message])
    if (["end", "error"].includes(message.type)) waiting.get(message.id)?.()
  })
  await within(once(ws, "open"), "the socket")
  return {
    ws,
    heard: (id) => heard.get(id) ?? [],
    say: (message) => ws.send(JSON.stringify(message)),
    async all(id) {
      const isLast = (message) => ["end", "error"].includes(message.type)
      if (!heard.get(id)?.some(isLast)) await within(new Promise((ended) => waiting.set(id, ended)), `the end of ${id}`)
      return heard.get(id)
    },
  }
}

const said = (messages) => messages.filter(({ type }) => type === "event").map(({ data }) => data)

test("fifty answers at once, each whole", async () => {
  const socket = await open(server.url)
  const ids = Array.from({ length: 50 }, (_, n) => `g${n}`)
  for (const id of ids) {
    socket.say({ type: "start", id, path: "/stream", body: { model: "mock-echo", prompt: `this is ${id}, 你好 🌊` } })
  }
  for (const id of ids) {
    const messages = await socket.all(id)
    assert.equal(said(messages).join(""), `this is ${id}, 你好 🌊[DONE]`)
    assert.equal(messages.at(-1).status, "completed")
  }
  socket.ws.close(1000)
  const [code] = await within(once(socket.ws, "close"), "the close")
  assert.equal(code, 1000)
})

test("a generation that outlives its socket is read on from another", async () => {
  const first = await open(server.url)
  first.say({ type: "start", id: "g", path: "/stream", body: { prompt: "Hello", max_tokens: 40 }, linger: "10s" })
  while (said(first.heard("g")).length < 5) await within(once(first.ws, "message"), "a message")
  first.ws.terminate()
  await within(once(first.ws, "close"), "the close")
  const before = first.heard("g")
  const second = await open(server.url)
  second.say({ type: "attach", id: "a", stream: before[0].stream, after: before.at(-1).event_id })
  second.say({ type: "attach", id: "whole", stream: before[0].stream })
  const [after, whole] = [await second.all("a"), await second.all("whole")]
  assert.deepEqual([...said(before), ...said(after)], said(whole))
  assert.equal(said(whole).at(-1), "[DONE]")
  second.ws.close()
})

test("a socket that is closed frees its upstream at once", async (t) => {
  const behind = await upstream((end) => t.after(end))
  const front = await start((end) => t.after(end), inFrontOf(behind))
  const socket = await open(front.url)
  const messages = [{ role: "user", content: "hi" }]
  const body = { model: "m", stream: true, messages }
  socket.say({ type: "start", id: "g", path: "/v1/chat/completions", body })
  const exchange = await behind.next()
  exchange.response.writeHead(200, { "content-type": "text/event-stream" })
  exchange.response.write(frame({ content: "first" }))
  while (said(socket.heard("g")).length < 1) await within(once(socket.ws, "message"), "a message")
  socket.ws.close()
  assert.equal(await within(exchange.gone, "the upstream's end"), false)
})

test("a page of another origin gets no socket", async () => {
  const ws = new WebSocket(`${server.url.replace("http", "ws")}/v1/ws`, { origin: "https://evil.example" })
  ws.on("error", () => {})
  const [, response] = await within(once(ws, "unexpected-response"), "the refusal")
  assert.equal(response.statusCode, 403)
  ws.terminate()
  const own = await open(server.url, { origin: server.url })
  own.ws.close()
})
