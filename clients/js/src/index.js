import { dialectOf, known } from "./dialects.js"
import { StreamError } from "./errors.js"
import { Link } from "./link.js"
import { Stream, streamOf } from "./stream.js"

export { Stream, StreamError }

/** @type {typeof import("../index.d.ts").generate} */
export async function generate(base, options) {
  const { path = "/stream?encoding=json", body, dialect, linger = "15s", signal, headers, fetch, retries, patience, silence, ...asked } =
    /** @type {import("../index.d.ts").GenerateOptions & { path?: string, body?: Record<string, unknown> }} */ (options)
  const link = new Link(base, { signal, headers, fetch, retries, patience, silence })
  const spoken = known(dialect ?? dialectOf(path))
  const lingers = !/^0+(?![\d.])/.test(String(linger))
  const ours = { "content-type": "application/json", accept: "text/event-stream", "x-linger": String(linger) }
  // With the key a request that was lost on its way can be sent again, and still runs once.
  const request = {
    url: link.url(path),
    init: {
      method: "POST",
      headers: link.headers(lingers ? { ...ours, "idempotency-key": randomKey() } : ours),
      body: JSON.stringify(streamed(path, body ?? asked)),
    },
  }
  const stream = new Stream(link, { dialect: spoken, again: request, once: !lingers })
  return /** @type {any} */ (await stream.connect(false))
}

/** @type {typeof import("../index.d.ts").resume} */
export async function resume(base, options) {
  const { lastEventId, dialect = "plain-json" } = options
  const id = options.id ?? (lastEventId && streamOf(lastEventId))
  if (!id) throw new TypeError("to resume a stream takes its id, or the id of an event of it")
  const stream = new Stream(new Link(base, options), { id, lastEventId, dialect: known(dialect) })
  return /** @type {any} */ (await stream.connect(true))
}

/** These stream only when they are asked to.
 * @param {string} path @param {Record<string, unknown>} body */
function streamed(path, body) {
  return /\/(chat\/completions|responses|messages)(\?|$)/.test(path) ? { stream: true, ...body } : body
}

/** Not crypto.randomUUID, which pages served over plain HTTP don't have. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")
}
