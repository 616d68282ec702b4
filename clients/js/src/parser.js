import { StreamError } from "./errors.js"

/**
 * One block of an event stream. `data` is undefined where the block had none: such a block is no event, but moves the id.
 * @typedef {{ id: string, event: string, data: string | undefined }} Block
 */

/** Reads an event stream by the WHATWG's rules, from pieces that are cut anywhere. */
export class Parser {
  #decoder = new TextDecoder()
  #most
  /** The part of a line that came so far. */
  #line = ""
  /** Whether the last piece ended in CR: an LF that comes next belongs to it. */
  #afterReturn = false
  /** @type {string | undefined} */
  #data
  #size = 0
  #event = ""
  #id
  #sentId
  /** The server's `retry:` in milliseconds.
   * @type {number | undefined} */
  retry

  /** @param {string} [id] the last id of the connection before @param {number} [most] characters in one event */
  constructor(id = "", most = 16 * 1024 * 1024) {
    this.#id = id
    this.#sentId = id
    this.#most = most
  }

  /** The blocks that end in this piece.
   * @param {Uint8Array} bytes */
  feed(bytes) {
    /** @type {Block[]} */
    const blocks = []
    const text = this.#decoder.decode(bytes, { stream: true })
    let start = 0
    if (this.#afterReturn && text !== "") {
      this.#afterReturn = false
      if (text[0] === "\n") start = 1
    }
    const ends = /[\r\n]/g
    for (;;) {
      ends.lastIndex = start
      const at = ends.exec(text)?.index ?? -1
      if (at < 0) break
      this.#take(this.#line + text.slice(start, at), blocks)
      this.#line = ""
      start = at + 1
      if (text[at] !== "\r") continue
      if (start === text.length) this.#afterReturn = true
      else if (text[start] === "\n") start += 1
    }
    this.#line += text.slice(start)
    this.#check(this.#line.length)
    return blocks
  }

  /** @param {string} line @param {Block[]} blocks */
  #take(line, blocks) {
    if (line === "") return this.#dispatch(blocks)
    const colon = line.indexOf(":")
    if (colon === 0) return
    const name = colon < 0 ? line : line.slice(0, colon)
    let value = colon < 0 ? "" : line.slice(colon + 1)
    if (value[0] === " ") value = value.slice(1)
    if (name === "data") {
      this.#check(value.length)
      this.#size += value.length
      this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`
    } else if (name === "event") this.#event = value
    else if (name === "id" && !value.includes("\0")) this.#id = value
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value)
  }

  /** @param {Block[]} blocks */
  #dispatch(blocks) {
    if (this.#data !== undefined || this.#id !== this.#sentId) {
      blocks.push({ id: this.#id, event: this.#event || "message", data: this.#data })
      this.#sentId = this.#id
    }
    this.#data = undefined
    this.#size = 0
    this.#event = ""
  }

  /** @param {number} more */
  #check(more) {
    if (this.#size + more > this.#most) {
      throw new StreamError("event_too_large", `the server sent an event of more than ${this.#most} characters`)
    }
  }
}
