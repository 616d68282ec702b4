/** Why a stream could not be read to its end. */
export class StreamError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ status?: number, requestId?: string, body?: unknown, temporary?: boolean, retryAfter?: number, cause?: unknown }} [more]
   */
  constructor(code, message, more = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    this.name = "StreamError"
    this.code = code
    this.status = more.status
    this.requestId = more.requestId
    this.body = more.body
    this.temporary = more.temporary ?? false
    this.retryAfter = more.retryAfter
  }
}

/** Whether the same may work later. @param {unknown} error @returns {error is StreamError} */
export function isTemporary(error) {
  return error instanceof StreamError && error.temporary
}

// What proxies and a restarting server answer, Cloudflare's own numbers among them.
const TEMPORARY = new Set([408, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530])
const CODES = new Map([[400, "invalid_request"], [401, "unauthorized"], [403, "forbidden"], [404, "not_found"], [410, "gone"]])

/** The error that a response's status and body say. Reads the body, but no more of it than an error needs.
 * @param {Response} response */
export async function refusal(response) {
  const text = await head(response, 16_384)
  let body
  try {
    body = JSON.parse(text)
  } catch {
    body = text
  }
  const said = body?.error ?? {}
  const { status } = response
  return new StreamError(
    said.code || said.type || CODES.get(status) || `http_${status}`,
    said.message || `the server answered ${status} ${response.statusText}`.trim(),
    {
      status,
      body,
      requestId: response.headers.get("x-request-id") ?? undefined,
      temporary: TEMPORARY.has(status),
      retryAfter: milliseconds(response.headers.get("retry-after")),
    },
  )
}

/** `retry-after`: seconds, or a date.
 * @param {string | null} value */
function milliseconds(value) {
  if (!value) return undefined
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined
}

/** @param {Response} response @param {number} most */
async function head(response, most) {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ""
  try {
    while (reader && text.length < most) {
      const { done, value } = await reader.read()
      if (done) break
      text += decoder.decode(value, { stream: true })
    }
  } catch {
    // The status alone has to do.
  }
  reader?.cancel().catch(() => {})
  return text
}
