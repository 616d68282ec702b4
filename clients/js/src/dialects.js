// What has to be known of a dialect to read its stream: the text in a frame, its end, and its errors.
import { StreamError } from "./errors.js"

/**
 * What a frame means. `end`: the answer is whole, nothing follows. `finishing`: it is, once the response ends, too.
 * @typedef {{ text?: string, end?: boolean, finishing?: boolean, error?: StreamError }} Meaning
 * @typedef {import("../index.d.ts").Dialect} Dialect
 * @typedef {import("./parser.js").Block & { data: string }} Frame
 */

const DONE = "[DONE]"

/** @type {Record<Dialect, (frame: Frame) => Meaning>} */
const READERS = {
  plain: (frame) => plain(frame, (data) => data),
  "plain-json": (frame) => plain(frame, parse),

  "openai-chat"({ data }) {
    if (data === DONE) return { end: true }
    const chunk = parse(data)
    if (chunk.error) return { error: failure(chunk.error) }
    const choice = chunk.choices?.find((/** @type {any} */ choice) => !choice.index)
    return { text: choice?.delta?.content ?? "" }
  },

  "openai-responses"({ event, data }) {
    const said = parse(data)
    switch (said.type ?? event) {
      case "response.output_text.delta":
        return { text: said.delta }
      case "response.completed":
      case "response.incomplete":
        return { end: true }
      case "response.failed":
        return { error: failure(said.response?.error ?? {}) }
      case "response.cancelled":
        return { error: failure({ code: "cancelled" }) }
      case "error":
        return { error: failure(said.error ?? said) }
      default:
        return {}
    }
  },

  anthropic({ event, data }) {
    const said = parse(data)
    switch (said.type ?? event) {
      case "content_block_delta":
        return { text: said.delta?.type === "text_delta" ? said.delta.text : "" }
      case "message_stop":
        return { end: true }
      case "error":
        return { error: failure(said.error ?? {}) }
      default:
        return {}
    }
  },

  gemini({ data }) {
    const chunk = parse(data)
    if (chunk.error) return { error: failure(chunk.error) }
    const candidate = chunk.candidates?.find((/** @type {any} */ candidate) => !candidate.index)
    const parts = (candidate?.content?.parts ?? []).filter((/** @type {any} */ part) => part.text && !part.thought)
    const finishing = Boolean(candidate?.finishReason || chunk.promptFeedback?.blockReason)
    return { text: parts.map((/** @type {any} */ part) => part.text).join(""), finishing }
  },
}

/** @param {Frame} frame @param {(data: string) => any} decode @returns {Meaning} */
function plain({ event, data }, decode) {
  if (event === "error") return { error: failure(parse(data).error ?? {}) }
  if (event !== "message") return {}
  return data === DONE ? { end: true } : { text: decode(data) }
}

/** @param {string} data */
function parse(data) {
  try {
    return JSON.parse(data)
  } catch (cause) {
    throw new StreamError("bad_payload", `the server sent an event that is no JSON: ${data.slice(0, 80)}`, { cause })
  }
}

/** @param {any} said */
function failure(said) {
  // Gemini's code is a number, and its name is the status.
  const code = typeof said.code === "string" ? said.code : String(said.status || said.type || "failed")
  return new StreamError(code, said.message || `the answer failed: ${code}`, { requestId: said.request_id, body: said })
}

/** @param {Dialect} dialect @param {Frame} frame */
export function meaning(dialect, frame) {
  return READERS[dialect](frame)
}

/** @param {string} dialect @returns {Dialect} */
export function known(dialect) {
  if (Object.hasOwn(READERS, dialect)) return /** @type {Dialect} */ (dialect)
  throw new TypeError(`there is no dialect "${dialect}"; there are ${Object.keys(READERS).join(", ")}`)
}

/** The dialect that a path answers in.
 * @param {string} path @returns {Dialect} */
export function dialectOf(path) {
  const [bare] = path.split("?")
  if (bare.endsWith("/chat/completions")) return "openai-chat"
  if (bare.endsWith("/responses")) return "openai-responses"
  if (bare.endsWith("/messages")) return "anthropic"
  if (bare.endsWith(":streamGenerateContent")) return "gemini"
  return /[?&]encoding=json(&|$)/.test(path) ? "plain-json" : "plain"
}
