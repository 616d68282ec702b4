import { lost } from "./connection.js"
import { isTemporary, refusal } from "./errors.js"
import { Patience } from "./patience.js"

/** A server, and how to speak with it. */
export class Link {
  #base
  #headers

  /** @param {string | URL} base @param {import("../index.d.ts").StartOptions} options */
  constructor(base, options) {
    this.#base = String(base).replace(/\/+$/, "")
    this.#headers = options.headers
    this.signal = options.signal
    // Called without a receiver: a browser's fetch refuses any other.
    const { fetch = globalThis.fetch } = options
    this.fetch = /** @type {NonNullable<typeof options.fetch>} */ ((url, init) => fetch(url, init))
    this.silence = options.silence ?? 45_000
    this.retries = options.retries ?? 2
    this.limit = options.patience ?? 60_000
    this.patience = new Patience(this.limit)
  }

  /** @param {string} path */
  url(path) {
    return this.#base + path
  }

  /** @param {Record<string, string>} ours the user's go before them */
  headers(ours) {
    const headers = new Headers(ours)
    new Headers(this.#headers).forEach((value, name) => headers.set(name, value))
    return headers
  }

  /** The offset goes into the query, for which a browser needs no preflight.
   * @param {string} id @param {string} lastEventId */
  resuming(id, lastEventId) {
    const query = lastEventId ? `?last_event_id=${encodeURIComponent(lastEventId)}` : ""
    const url = this.url(`/v1/stream/${encodeURIComponent(id)}${query}`)
    return { url, init: { headers: this.headers({ accept: "text/event-stream" }) } }
  }

  /** @param {() => void} callback */
  onAbort(callback) {
    const { signal } = this
    if (signal?.aborted) callback()
    signal?.addEventListener("abort", callback)
    return () => signal?.removeEventListener("abort", callback)
  }

  /** Cancels a generation, through losses as well: to cancel twice does no harm.
   * @param {string} id */
  async cancel(id) {
    const patience = new Patience(this.limit)
    const url = this.url(`/v1/stream/${encodeURIComponent(id)}/cancel`)
    for (;;) {
      try {
        return await patience.count(this.#post(url))
      } catch (error) {
        if (!isTemporary(error)) throw error
        await patience.wait(error, new AbortController().signal)
      }
    }
  }

  /** @param {string} url @returns {Promise<import("../index.d.ts").Cancelled>} */
  async #post(url) {
    let response
    try {
      // A cancel outlives the signal that ends the reading.
      response = await this.fetch(url, { method: "POST", headers: this.headers({}), signal: AbortSignal.timeout(this.silence) })
    } catch (cause) {
      throw lost(cause instanceof Error ? cause.message : String(cause), cause)
    }
    if (!response.ok) throw await refusal(response)
    return await response.json()
  }
}
