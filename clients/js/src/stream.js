import { meaning } from "./dialects.js"
import { StreamError, isTemporary } from "./errors.js"
import { lost, open } from "./connection.js"

const LEFT = Symbol("left")

/**
 * @typedef {import("../index.d.ts").Frame} Frame
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./link.js").Link} Link
 * @typedef {{ id?: string, lastEventId?: string, dialect: import("../index.d.ts").Dialect, again?: Request, once?: boolean }} Place
 * @typedef {{ url: string, init: RequestInit }} Request how to ask for what has no id yet; `once`: until it is answered
 */

/** One answer: its text or its frames, each once, over as many connections as it takes. */
export class Stream {
  #link
  #place
  /** @type {Connection | undefined} */
  #connection
  #visit = new AbortController()
  #busy = false
  /** No more is to come: the end came, or what went wrong.
   * @type {{ error?: unknown } | undefined} */
  #ended
  #cancelled = false
  #finishing = false
  #unwatch = () => {}

  /** @param {Link} link @param {Place} place */
  constructor(link, place) {
    this.#link = link
    this.#place = { ...place }
  }

  get id() {
    return this.#place.id
  }

  get lastEventId() {
    return this.#place.lastEventId
  }

  get dialect() {
    return this.#place.dialect
  }

  get ended() {
    return this.#ended !== undefined
  }

  /** What `resume` needs to go on from here. */
  toJSON() {
    const { id, lastEventId, dialect } = this.#place
    return { id, lastEventId, dialect }
  }

  [Symbol.asyncIterator]() {
    return this.#visitor((frame, { text }) => text || undefined)
  }

  events() {
    return this.#visitor((frame) => frame)
  }

  async text() {
    let text = ""
    for await (const piece of this) text += piece
    return text
  }

  close() {
    this.#unwatch()
    this.#visit.abort(LEFT)
    this.#connection?.close(LEFT)
    this.#connection = undefined
  }

  async cancel() {
    this.#cancelled = true
    if (this.#place.id === undefined) {
      // Nothing lingers: the server cancels when it is left.
      this.close()
      this.#ended ??= {}
      return { id: undefined, status: "cancelled" }
    }
    return await this.#link.cancel(this.#place.id)
  }

  /** Opens the first connection. @param {boolean} patient whether losses are waited out, or only some retries are made */
  async connect(patient) {
    this.#watch()
    try {
      for (let retries = this.#link.retries; !this.#connection && !this.#ended; retries -= 1) {
        try {
          await this.#open()
        } catch (error) {
          if (!isTemporary(error) || !(patient || (retries > 0 && this.#repeatable(error)))) throw error
          await this.#link.patience.wait(error, this.#visit.signal)
        }
      }
    } catch (error) {
      this.#unwatch()
      throw error
    }
    return this
  }

  /** Whether to ask again can't start a second generation.
   * @param {StreamError} error */
  #repeatable(error) {
    return !this.#place.once || error.status !== undefined
  }

  /** Follows the user's signal until the stream is left. */
  #watch() {
    this.#unwatch()
    this.#unwatch = this.#link.onAbort(() => {
      this.#visit.abort(this.#link.signal?.reason)
      this.#connection = undefined
    })
  }

  async #open() {
    const { id, lastEventId = "", again } = this.#place
    const asked = id === undefined ? again : this.#link.resuming(id, lastEventId)
    if (!asked) throw new StreamError("connection_lost", "the stream was left, and has no id to resume it by")
    const { fetch, silence, patience } = this.#link
    const connection = await patience.count(
      open(asked.url, asked.init, { fetch, silence, id: lastEventId, signal: this.#visit.signal }),
    )
    if (!connection) this.#ended = {}
    else this.#place.id ??= connection.streamId
    if (this.#place.once) this.#place.again = undefined
    this.#connection = connection
  }

  /** An iterator over what `pick` makes of each frame; leaving it closes the connection.
   * @template T @param {(frame: Frame, meaning: import("./dialects.js").Meaning) => T | undefined} pick
   * @returns {AsyncIterableIterator<T>} */
  #visitor(pick) {
    const frames = this.#frames(pick)
    let begun = false
    const iterator = {
      next: () => {
        begun = true
        return frames.next()
      },
      return: async () => {
        // A read may be pending: it is ended, where a generator alone would wait for it.
        if (begun) this.close()
        return await frames.return(undefined)
      },
      [Symbol.asyncIterator]: () => iterator,
    }
    return iterator
  }

  /** @template T @param {(frame: Frame, meaning: import("./dialects.js").Meaning) => T | undefined} pick
   * @returns {AsyncGenerator<T, undefined>} */
  async *#frames(pick) {
    if (this.#busy) throw new TypeError("this stream is being read already")
    this.#busy = true
    if (this.#visit.signal.aborted) this.#visit = new AbortController()
    const visit = this.#visit
    this.#watch()
    try {
      while (!this.#ended) {
        const frame = await this.#frame(visit.signal)
        if (!frame) continue
        const said = meaning(this.#place.dialect, frame)
        this.#place.lastEventId = frame.id || undefined
        if (said.error) {
          // It is what was asked for.
          if (this.#cancelled) this.#ended = {}
          else throw said.error
        }
        this.#finishing ||= said.finishing ?? false
        if (said.end) this.#ended = {}
        const picked = said.error ? undefined : pick(frame, said)
        if (picked !== undefined) yield picked
      }
      if (this.#ended.error) throw this.#ended.error
    } catch (error) {
      if (error === LEFT) return
      if (!visit.signal.aborted) this.#ended = { error }
      throw error
    } finally {
      this.#busy = false
      this.close()
    }
  }

  /** The next frame; undefined where there was none to take and it is to be asked again, or is all over.
   * @param {AbortSignal} signal */
  async #frame(signal) {
    const { patience } = this.#link
    // Kept, for whoever leaves while it is waited for takes it away.
    const connection = this.#connection
    try {
      signal.throwIfAborted()
      if (!connection) return void (await this.#open())
      const block = await connection.next()
      patience.pause = connection.retry ?? patience.pause
      if (!block) return void this.#over()
      patience.restore()
      this.#place.id ??= streamOf(block.id)
      // From here on to ask again would be to start over.
      this.#place.again = undefined
      if (block.data !== undefined) return { ...block, data: block.data }
      this.#place.lastEventId = block.id || undefined
    } catch (error) {
      if (!isTemporary(error)) throw error
      connection?.close()
      this.#connection = undefined
      if (this.#place.id === undefined && !this.#place.again) {
        throw new StreamError("connection_lost", `${error.message}; the stream has no id to resume it by`, { cause: error })
      }
      await patience.wait(error, signal)
    }
  }

  /** The response ended properly. That completes an answer only where its dialect has no mark for the end. */
  #over() {
    if (!this.#finishing) throw lost("the response ended before the answer did")
    this.#ended = {}
  }
}

/** The stream that an event's id names: `<stream>.<offset>`.
 * @param {string} eventId */
export function streamOf(eventId) {
  const dot = eventId.lastIndexOf(".")
  return dot > 0 ? eventId.slice(0, dot) : undefined
}
