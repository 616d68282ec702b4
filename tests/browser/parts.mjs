// A real Chromium, and a server of pages beside the one that they listen to.
import { readFileSync } from "node:fs"
import http from "node:http"
import { fileURLToPath } from "node:url"

import { start as serve, inFrontOf } from "../sdk/harness.mjs"
import { chromium } from "../sdk/packages.mjs"
import { proxy } from "../resume/chaos.mjs"

const CLIENT = new URL("../../clients/js/src/", import.meta.url)
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
]

/** A browser without a past. What is given to `onEnd` ends it. */
export async function browser(onEnd) {
  const server = await chromium.launchServer({
    executablePath: process.env.CHROMIUM_BIN || "/usr/bin/chromium",
    headless: true,
    args: FLAGS,
  })
  // Asked to close, it takes its time; nothing of it is needed any more.
  onEnd(() => server.kill())
  const connected = await chromium.connect(server.wsEndpoint())
  return await connected.newContext()
}

/**
 * A mock model's server (`back`), a server in front of it (`front`), a network between that and the pages (`network`), and
 * pages of another origin: `open()` gives a new tab, `api` is where it asks.
 */
export async function world(onEnd, context, config = "") {
  const pages = await servePages(onEnd)
  const back = await serve(onEnd, "", { TOKENRILL_MOCK_TOKENS_PER_SECOND: "25" })
  const front = await serve(onEnd, `${inFrontOf(back)}\n[cors]\norigins = ["${pages}"]\n${config}`)
  const network = await proxy(onEnd, Number(new URL(front.url).port))
  const open = async () => {
    const tab = await context.newPage()
    await tab.goto(pages)
    await tab.waitForFunction("window.ready")
    return tab
  }
  return { back, front, network, open, api: network.url }
}

async function servePages(onEnd) {
  const page = readFileSync(new URL("page.html", import.meta.url))
  const listener = http.createServer((request, response) => {
    if (request.url === "/") return response.writeHead(200, { "content-type": "text/html" }).end(page)
    const [, name] = /^\/client\/(\w+\.js)$/.exec(request.url) ?? []
    if (!name) return response.writeHead(404).end()
    response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(fileURLToPath(new URL(name, CLIENT))))
  })
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve))
  onEnd(() => {
    listener.close()
    listener.closeAllConnections()
  })
  return `http://127.0.0.1:${listener.address().port}`
}
