import { StreamError } from "./errors.js"

const SLOWEST = 10_000

/** How long to wait before the next attempt, and when to give up. Only time without a connection counts. */
export class Patience {
  #limit
  #spent = 0
  #attempts = 0
  /** The first pause; the server's `retry:` sets it. */
  pause = 1000

  /** @param {number} limit in milliseconds */
  constructor(limit) {
    this.#limit = limit
  }

  /** Something came: the next loss is a first one. */
  restore() {
    this.#spent = 0
    this.#attempts = 0
  }

  get left() {
    return Math.max(0, this.#limit - this.#spent)
  }

  /** Adds the time that a promise takes.
   * @template T @param {Promise<T>} promise */
  async count(promise) {
    const since = performance.now()
    try {
      return await promise
    } finally {
      this.#spent += performance.now() - since
    }
  }

  /** Waits for the time of the next attempt; throws what went wrong when there is none left.
   * @param {StreamError} cause @param {AbortSignal} signal */
  async wait(cause, signal) {
    // Clients that lost the same server at the same moment don't come back at the same moment.
    const backoff = Math.random() * Math.min(SLOWEST, this.pause * 2 ** Math.min(this.#attempts, 30))
    const asked = cause.retryAfter ?? 0
    const delay = asked > 0 ? asked + Math.random() * Math.min(1000, asked) : backoff
    this.#attempts += 1
    const { left } = this
    if (left === 0 || asked > left) {
      throw new StreamError("connection_lost", `no connection for ${Math.round(this.#spent)} ms: ${cause.message}`, {
        cause,
        status: cause.status,
        temporary: true,
      })
    }
    await this.count(sleep(Math.min(offline() ? Math.max(delay, SLOWEST) : delay, left), signal))
  }
}

/** Whether the browser says so. It may be wrong, so this only slows attempts down. */
function offline() {
  return globalThis.navigator?.onLine === false
}

/** Sleeps, but not past the moment when the browser is online again.
 * @param {number} delay @param {AbortSignal} signal @returns {Promise<void>} */
function sleep(delay, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const finish = () => {
      clearTimeout(timer)
      signal.removeEventListener("abort", finish)
      unwatch()
      if (signal.aborted) reject(signal.reason)
      else resolve()
    }
    const timer = setTimeout(finish, delay)
    signal.addEventListener("abort", finish)
    const unwatch = onOnline(finish)
  })
}

/** Calls back when the browser comes online; what it returns ends that.
 * @param {() => void} callback */
export function onOnline(callback) {
  if (typeof globalThis.addEventListener !== "function") return () => {}
  globalThis.addEventListener("online", callback)
  return () => globalThis.removeEventListener("online", callback)
}
