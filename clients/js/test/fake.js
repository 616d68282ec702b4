// A server that keeps to the wire contract and misbehaves as a test wants: it serves one log, resumes it, cancels it.
import http from "node:http"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"

export const ID = "stm_AAAAAAAAAAAAAAAAAAAAAA"
const HEAD = { "content-type": "text/event-stream; charset=utf-8", "x-stream-id": ID }

/** The id of the event that ends at a position of the log. */
export const at = (position) => `${ID}.00000001_${position.toString(16).padStart(12, "0")}`

/** The frames of a plain stream in JSON. */
export function plain(tokens, end = "data: [DONE]\n") {
  return [...tokens.map((token) => `data: ${JSON.stringify(token)}\n`), ...(end ? [end] : [])]
}

/**
 * `log` holds each frame's lines without its id. `behave(visit)` is asked what to do with every request: `visit` has
 * `number` (of the stream's connections, from 0), `request`, `after` (the position asked for). It may give
 * { status, headers, body }, or how the stream is sent: { cut: bytes, clean, stall, piece: bytes, head, ids }.
 */
export async function serve(t, log, behave = () => ({})) {
  const seen = []
  const state = { cancelled: false, sent: 0, open: 0 }
  let number = 0
  const listener = http.createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray().catch(() => [])).toString()
    const url = new URL(request.url, "http://x")
    seen.push({ method: request.method, path: url.pathname, query: url.searchParams, headers: request.headers, body })
    if (url.pathname.endsWith("/cancel")) {
      state.cancelled = true
      response.setHeader("content-type", "application/json")
      return response.end(JSON.stringify({ id: ID, status: "cancelled", next_offset: at(log.length).split(".")[1] }))
    }
    const last = request.headers["last-event-id"] ?? url.searchParams.get("last_event_id")
    const after = last ? parseInt(last.split("_").at(-1), 16) : 0
    const how = behave({ number: number++, request, after, url }) ?? {}
    if (how.destroy) return request.socket.resetAndDestroy()
    if (how.status) return response.writeHead(how.status, how.headers).end(how.body)
    if (after >= log.length && !how.stall) return response.writeHead(204).end()
    response.writeHead(200, how.head ?? HEAD)
    response.flushHeaders()
    state.open += 1
    response.once("close", () => (state.open -= 1))
    const blocks = log.slice(after).map((lines, index) => (how.ids === false ? "" : `id: ${at(after + index + 1)}\n`) + lines + "\n")
    // The next attempt comes at once: these tests are about what is resumed, not when.
    if (how.ids !== false) blocks[0] = `retry: 1\n${blocks[0] ?? ""}`
    await send(response, Buffer.from((how.before ?? "") + blocks.join("")), how, state)
  })
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve))
  t.after(() => {
    listener.close()
    listener.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${listener.address().port}`, seen, state, listener }
}

async function send(response, bytes, { cut, clean, stall, piece = bytes.length || 1 }, state) {
  const most = Math.min(cut ?? Infinity, bytes.length)
  for (let from = 0; from < most && !response.destroyed; from += piece) {
    const part = bytes.subarray(from, Math.min(from + piece, most))
    // A write that is not waited for would be merged with the next.
    await new Promise((resolve) => response.write(part, resolve))
    state.sent += part.length
    if (!response.destroyed && response.writableNeedDrain) await Promise.race([once(response, "drain"), once(response, "close")])
  }
  if (stall) return
  if (cut !== undefined && !clean) return response.socket?.destroy()
  response.end()
}

/** Everything that an iterator gives, and the error that ended it. */
export async function drain(iterable) {
  const items = []
  try {
    for await (const item of iterable) items.push(item)
  } catch (error) {
    return { items, error }
  }
  return { items }
}

/** Waits until something is so. */
export async function until(what, condition) {
  for (const since = Date.now(); Date.now() - since < 10_000; await sleep(2)) if (condition()) return
  throw new Error(`waited 10 s until ${what}`)
}
