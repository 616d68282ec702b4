// A TCP proxy that does to connections what networks do: it delays, splits, stalls, closes and resets them.
//
// As a program: node chaos.mjs --listen 9000 --to 8080 [--seed 1], in front of a server that is tried by hand.
import net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

/**
 * What becomes of one connection's answer: after so many bytes of it (never, if undefined) the connection is closed, reset
 * or stalled for so long and then reset; it begins in pieces of at most so many bytes, with pauses between them.
 * @typedef {{ after?: number, how?: "close" | "reset" | "stall", stall?: number, piece?: number, delay?: number }} Fate
 */

/** How many pieces are small: enough to cut frames anywhere, and no more than a test has time for. */
const SMALL = 60

/** A small random source, so that a seed repeats a failure. */
export function randomOf(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Fates at random. `most` is the most bytes that a connection lives for. */
export function chance(seed, most = 8000) {
  const random = randomOf(seed)
  const one = (...of) => of[Math.floor(random() * of.length)]
  return () => ({
    after: Math.floor(random() ** 2 * most),
    how: one("close", "reset", "reset", "stall"),
    stall: Math.floor(random() * 50),
    piece: one(1, 3, 17, 100, 1000, Infinity, Infinity),
    delay: one(0, 0, 0, 1, 3),
  })
}

/** Starts one in front of a port. `fate(number)` decides each connection's lot. */
export async function proxy(onEnd, port, fate = () => ({}), listen = 0) {
  const open = new Set()
  const state = { connections: 0, away: false, bytes: 0 }
  const listener = net.createServer({ allowHalfOpen: true }, (client) => {
    if (state.away) return client.resetAndDestroy()
    const upstream = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })
    const pair = { client, upstream, kill: () => (reset(client), upstream.destroy()) }
    open.add(pair)
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      one.setNoDelay(true)
      one.on("error", () => {})
      one.once("close", () => {
        open.delete(pair)
        other.destroy()
      })
    }
    client.pipe(upstream)
    answer(upstream, client, fate(state.connections++), state).catch(() => pair.kill())
  })
  await new Promise((resolve) => listener.listen(listen, "127.0.0.1", resolve))
  const cut = () => [...open].forEach((pair) => pair.kill())
  onEnd(() => {
    listener.close()
    cut()
  })
  return {
    url: `http://127.0.0.1:${listener.address().port}`,
    port: listener.address().port,
    state,
    /** Resets all connections. */
    cut,
    /** Resets all connections, and every new one until it is back. */
    away: (away = true) => {
      state.away = away
      if (away) cut()
    },
  }
}

/** Resets a connection. One that is half closed can't be reset: Node would never let go of it.
 * @param {net.Socket} socket */
function reset(socket) {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

/** @param {net.Socket} from @param {net.Socket} to @param {Fate} fate */
async function answer(from, to, { after = Infinity, how = "close", stall = 0, piece = Infinity, delay = 0 }, state) {
  let left = after
  let small = SMALL
  for await (const chunk of from) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + Math.min(small > 0 ? piece : Infinity, left, chunk.length - at))
      at += part.length
      left -= part.length
      state.bytes += part.length
      if (part.length > 0 && !to.write(part)) await new Promise((resolve) => to.once("drain", resolve).once("close", resolve))
      if (--small > 0 && delay > 0) await sleep(delay)
      if (left > 0) continue
      if (how === "stall") await sleep(stall)
      if (how === "close") await new Promise((resolve) => to.end(resolve))
      else reset(to)
      return from.destroy()
    }
  }
  to.end()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name, otherwise) => {
    const at = process.argv.indexOf(`--${name}`)
    return at < 0 ? otherwise : Number(process.argv[at + 1])
  }
  const seed = option("seed", Date.now() % 1_000_000)
  const { url } = await proxy(() => {}, option("to", 8080), chance(seed), option("listen", 9000))
  console.log(`${url} in front of port ${option("to", 8080)}, seed ${seed}`)
}
