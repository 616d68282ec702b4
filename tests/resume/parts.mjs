// What the resume suites are made of: requests in every dialect, raw frames, a model that talks at a test's pace.
import http from "node:http"
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises"

import { frame, within } from "../sdk/harness.mjs"

const MESSAGES = [{ role: "user", content: "Hello" }]

/** How each dialect asks for a stream that lingers, and how its last frame looks. Each names linger in another way. */
export const DIALECTS = {
  plain: { method: "GET", path: (model) => `/stream?prompt=Hello&linger=30s&model=${model}`, end: /^data: \[DONE\]$/m },
  "openai-chat": {
    path: () => "/v1/chat/completions",
    headers: { "x-linger": "30s" },
    body: (model) => ({ model, stream: true, messages: MESSAGES }),
    end: /^data: \[DONE\]$/m,
  },
  "openai-responses": {
    path: () => "/v1/responses?linger=30s",
    body: (model) => ({ model, stream: true, input: "Hello" }),
    end: /^event: response\.completed$/m,
  },
  anthropic: {
    path: () => "/v1/messages",
    body: (model) => ({ model, stream: true, max_tokens: 1000, messages: MESSAGES, linger: "30s" }),
    end: /^event: message_stop$/m,
  },
  gemini: {
    path: (model) => `/v1beta/models/${model}:streamGenerateContent?alt=sse`,
    headers: { "x-linger": "30" },
    body: () => ({ contents: [{ role: "user", parts: [{ text: "Hello" }] }] }),
    end: /"finishReason":"STOP"/,
  },
}

/** Asks for a stream in that dialect; `more` adds headers, or to the query. */
export function start(server, dialect, { model = "m", headers = {}, query = "", agent } = {}) {
  const { method = "POST", path, headers: own = {}, body } = DIALECTS[dialect]
  const asked = path(model)
  const url = query ? `${asked}${asked.includes("?") ? "&" : "?"}${query}` : asked
  return ask(server, url, { method, headers: { ...own, ...headers }, body: body?.(model), agent })
}

/** Reads a stream by its id, after that event. */
export function read(server, id, lastEventId, { headers = {}, agent } = {}) {
  const after = lastEventId === undefined ? {} : { "last-event-id": lastEventId }
  return ask(server, `/v1/stream/${id}`, { headers: { accept: "text/event-stream", ...after, ...headers }, agent })
}

/** One request on a connection of its own: { status, headers, id, blocks(), rest(), text(), json(), cut() }. */
export async function ask(server, path, { method = "GET", headers = {}, body, agent = false } = {}) {
  const payload = body === undefined ? undefined : JSON.stringify(body)
  const request = http.request(server.url + path, {
    method,
    agent,
    headers: payload === undefined ? headers : { "content-type": "application/json", ...headers },
  })
  const answered = new Promise((resolve, reject) => request.once("response", resolve).once("error", reject))
  request.end(payload)
  const response = await within(answered, `an answer to ${method} ${path}`)
  request.on("error", () => {})
  response.on("error", () => {})
  response.setEncoding("utf8")
  const blocks = cutInBlocks(response)
  return {
    status: response.statusCode,
    headers: response.headers,
    id: response.headers["x-stream-id"],
    response,
    /** Takes so many blocks, or fails. */
    async take(count) {
      const taken = []
      while (taken.length < count) {
        const { done, value } = await within(blocks.next(), `block ${taken.length} of ${count} of ${path}`)
        if (done) throw new Error(`${path} ended after ${taken.length} of ${count} blocks: ${taken.at(-1)}`)
        taken.push(value)
      }
      return taken
    },
    /** All blocks that are still to come. */
    async rest() {
      const taken = []
      for (;;) {
        const { done, value } = await within(blocks.next(), `the end of ${path}`)
        if (done) return taken
        taken.push(value)
      }
    },
    async json() {
      let text = ""
      for await (const piece of response) text += piece
      return JSON.parse(text)
    },
    cut: () => response.socket.resetAndDestroy(),
  }
}

/** A response's blocks, without comments. A piece of one at its end is an error; after an error's block the body breaks off. */
async function* cutInBlocks(response) {
  let buffer = ""
  let last = ""
  try {
    for await (const piece of response) {
      buffer += piece
      for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
        const block = buffer.slice(0, end)
        buffer = buffer.slice(end + 2)
        // Gemini's SDKs take an error for one only as bare JSON, which follows its block.
        const isBareError = block.startsWith('{"error"') && /error/.test(last)
        if (!block.startsWith(":") && !isBareError) yield (last = block)
      }
    }
  } catch (broken) {
    if (!/error|failed|cancel/.test(last)) throw broken
  }
  if (buffer !== "") throw new Error(`the response ended in the middle of a block: ${buffer}`)
}

/** A block's event id. */
export const idOf = (block) => /^id: (.*)$/m.exec(block)?.[1]

/** A block as it would be without linger. */
export const bare = (block) => block.replace(/^(id|retry): .*\n/gm, "")

export const TOKENS = Array.from({ length: 200 }, (_, n) => [` word${n}`, " 你好", "\n", " 🌊", ` "quoted" ${n}`][n % 5])

/**
 * An upstream that says TOKENS to whoever asks, one a turn, and notes who left. `gate(number)` is waited for before each.
 */
export async function model(onEnd, { tokens = TOKENS, gate = () => turn() } = {}) {
  const calls = []
  const listener = http.createServer(async (request, response) => {
    const call = { said: 0, left: false, finished: false }
    calls.push(call)
    call.gone = new Promise((resolve) => response.once("close", resolve)).then(() => (call.left = !call.finished))
    await request.toArray()
    response.writeHead(200, { "content-type": "text/event-stream" })
    for (const token of tokens) {
      await gate(call.said)
      if (response.destroyed) return
      if (!response.write(frame({ content: token }))) await new Promise((resolve) => response.once("drain", resolve).once("close", resolve))
      call.said += 1
    }
    call.finished = true
    response.end(`${frame({}, "stop")}data: [DONE]\n\n`)
  })
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve))
  onEnd(() => {
    listener.close()
    listener.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${listener.address().port}`, calls }
}

/** A gate that holds the model after `open` tokens until it is opened further. */
export function gate(open) {
  let waiting = []
  return {
    wait: async (number) => {
      while (number >= open) await new Promise((resolve) => waiting.push(resolve))
      await turn()
    },
    open: (count = Infinity) => {
      open = count
      for (const resolve of waiting.splice(0)) resolve()
    },
  }
}

/** Waits until something is so; gives it. */
export async function until(what, condition, deadline = 30_000) {
  for (const since = Date.now(); Date.now() - since < deadline; await sleep(5)) {
    const found = await condition()
    if (found) return found
  }
  throw new Error(`waited ${deadline} ms until ${what}`)
}

/** The log's lines about generations. */
export function generations(server) {
  const lines = server.log().split("\n").filter((line) => line.startsWith("{"))
  const records = lines.map((line) => JSON.parse(line)).map(({ fields, ...record }) => ({ ...record, ...fields }))
  return records.filter(({ message }) => message === "generation")
}
