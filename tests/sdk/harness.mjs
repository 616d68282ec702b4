// Starts the real binary as a user does, and plays its upstream by hand.
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import http from "node:http"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { createInterface } from "node:readline"
import { after, before } from "node:test"
import { fileURLToPath } from "node:url"

const ROOT = fileURLToPath(new URL("../..", import.meta.url))
const BINARY = resolve(process.env.TOKENRILL_BIN || join(ROOT, "target/release/tokenrill"))
const DEADLINE = 30_000

/** Rejects, naming what was waited for, when a promise is not settled in time. */
export async function within(promise, what, deadline = DEADLINE) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${deadline} ms for ${what}`)), deadline)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A config that sends every model to one OpenAI-compatible upstream. */
export function inFrontOf(upstream) {
  return `[providers.up]
dialect = "openai-chat"
base_url = "${upstream.url}/v1"
[[models]]
name = "*"
targets = [{ provider = "up" }]
`
}

/** Starts a server. What is given to `onEnd` stops it, and fails if it died or panicked. */
export async function start(onEnd, config = "", env = {}) {
  const folder = mkdtempSync(join(tmpdir(), "tokenrill-"))
  cpSync(join(ROOT, "prompts"), join(folder, "prompts"), { recursive: true })
  if (config) writeFileSync(join(folder, "tokenrill.toml"), config)
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TOKENRILL_")))
  const server = spawn(BINARY, ["--listen", "127.0.0.1:0"], {
    cwd: folder,
    env: { ...clean, TOKENRILL_LOG_FORMAT: "json", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  // Should this process end before its tests do.
  const kill = () => server.kill("SIGKILL")
  process.once("exit", kill)
  let log = ""
  server.stderr.on("data", (data) => (log += data))
  const exited = new Promise((resolve) => server.once("exit", resolve))
  onEnd(async () => {
    const died = server.exitCode !== null
    kill()
    process.off("exit", kill)
    await within(exited, "the server's end")
    rmSync(folder, { recursive: true })
    if (died || log.includes("panicked")) throw new Error(`the server died or panicked: ${log}`)
  })
  const first = new Promise((resolve, reject) => {
    createInterface(server.stdout).once("line", resolve)
    server.once("error", reject)
    server.once("exit", (code) => reject(new Error(`it did not start (exit code ${code}): ${log}`)))
  })
  const found = /listens on (http:\/\/127\.0\.0\.1:\d+)$/.exec(await within(first, "the server's address"))
  if (!found) throw new Error("the first line on stdout holds no address")
  return { url: found[1], pid: server.pid, log: () => log }
}

/** One server for all tests of a file: its url is known once they run. */
export function shared(env = {}) {
  const server = {}
  const ends = []
  before(async () => Object.assign(server, await start((end) => ends.push(end), "", env)))
  after(async () => {
    for (const end of ends) await end()
  })
  return server
}

/** An upstream whose requests are answered by hand: `next()` gives { request, body, response, gone }. */
export async function upstream(onEnd) {
  const waiting = []
  const arrived = []
  const listener = http.createServer(async (request, response) => {
    const gone = new Promise((resolve) => response.once("close", () => resolve(response.writableFinished)))
    const pieces = []
    for await (const piece of request) pieces.push(piece)
    const exchange = { request, response, body: Buffer.concat(pieces).toString(), gone }
    const taker = waiting.shift()
    if (taker) taker(exchange)
    else arrived.push(exchange)
  })
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve))
  onEnd(() => {
    listener.close()
    listener.closeAllConnections()
  })
  let seen = 0
  return {
    url: `http://127.0.0.1:${listener.address().port}`,
    seen: () => seen,
    async next() {
      const exchange = arrived.shift() ?? (await within(new Promise((take) => waiting.push(take)), "a request upstream"))
      seen += 1
      return exchange
    },
    waiting: () => arrived.length,
  }
}

/** One chunk of a streamed chat completion, as a frame. */
export function frame(delta, finish_reason = null) {
  const choices = [{ index: 0, delta, finish_reason }]
  return `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices })}\n\n`
}

/** Answers a request with a status and a JSON body. */
export function refuse(exchange, status, body, headers = {}) {
  exchange.response.writeHead(status, { "content-type": "application/json", ...headers })
  exchange.response.end(JSON.stringify(body))
}
