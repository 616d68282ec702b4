import { StreamError, refusal } from "./errors.js"
import { Parser } from "./parser.js"
import { onOnline } from "./patience.js"

/**
 * @typedef {import("./parser.js").Block} Block
 * @typedef {{ fetch: (url: string, init: RequestInit) => Promise<Response>, silence: number, id: string, signal: AbortSignal }} How
 */

/** One response, read block by block as its user asks. What is lost of it throws a temporary StreamError. */
export class Connection {
  #reader
  #wire
  #silence
  #parser
  /** @type {Block[]} */
  #blocks = []
  #unwatch

  /** @param {Response} response @param {AbortController} wire @param {How} how */
  constructor(response, wire, { id, silence, signal }) {
    this.streamId = response.headers.get("x-stream-id") ?? undefined
    this.#reader = response.body?.getReader()
    this.#wire = wire
    this.#silence = silence
    this.#parser = new Parser(id)
    const leave = () => this.close(signal.reason)
    signal.addEventListener("abort", leave)
    // After a change of networks the old connection may be dead without a word.
    const unwatch = onOnline(() => this.close(lost("the network changed")))
    this.#unwatch = () => {
      signal.removeEventListener("abort", leave)
      unwatch()
    }
  }

  get retry() {
    return this.#parser.retry
  }

  /** The next block; undefined where the response ends. */
  async next() {
    while (this.#blocks.length === 0) {
      const piece = await timely(this.#silence, this.#wire, () => this.#reader?.read())
      if (!piece || piece.done) {
        this.close()
        return undefined
      }
      this.#blocks = this.#parser.feed(piece.value)
    }
    return this.#blocks.shift()
  }

  /** Closes the socket. @param {unknown} [reason] */
  close(reason) {
    this.#unwatch()
    this.#wire.abort(reason)
    this.#reader?.cancel().catch(() => {})
  }
}

/** Sends a request. Undefined is the server's 204: nothing is left.
 * @param {string} url @param {RequestInit} init @param {How} how @returns {Promise<Connection | undefined>} */
export async function open(url, init, how) {
  how.signal.throwIfAborted()
  const wire = new AbortController()
  const leave = () => wire.abort(how.signal.reason)
  how.signal.addEventListener("abort", leave)
  try {
    const response = await timely(how.silence, wire, () => how.fetch(url, { ...init, signal: wire.signal, cache: "no-store" }))
    if (response.status === 204) return undefined
    if (!response.ok) throw await refusal(response)
    if (!/^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "")) {
      wire.abort()
      // It may be the login page of a network that is not open yet.
      throw new StreamError("not_a_stream", `${url} did not answer with an event stream`, { temporary: true })
    }
    return new Connection(response, wire, how)
  } finally {
    how.signal.removeEventListener("abort", leave)
  }
}

/** Awaits a step on the wire: one that fails is a loss, and one that takes too long is abandoned.
 * @template T @param {number} limit @param {AbortController} wire @param {() => T | Promise<T>} step */
async function timely(limit, wire, step) {
  const timer = setTimeout(() => wire.abort(lost(`nothing came for ${limit} ms`)), limit)
  try {
    const result = await step()
    wire.signal.throwIfAborted()
    return result
  } catch (cause) {
    if (wire.signal.aborted) throw wire.signal.reason
    throw lost(cause instanceof Error ? cause.message : String(cause), cause)
  } finally {
    clearTimeout(timer)
  }
}

/** @param {string} message @param {unknown} [cause] */
export function lost(message, cause) {
  return new StreamError("connection_lost", `the connection was lost: ${message}`, { temporary: true, cause })
}
