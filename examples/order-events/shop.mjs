// A shop whose customers watch their orders: every order is a stream, every thing that happens to it a message.
//
//     node shop.mjs          # TOKENRILL=http://127.0.0.1:8080  PORT=3000  PACE=1500 (milliseconds between events)
//
// Only Node, no packages. The shop appends with POST; a page reads with EventSource.
import { randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import http from "node:http"

const TOKENRILL = process.env.TOKENRILL ?? "http://127.0.0.1:8080"
const PORT = Number(process.env.PORT ?? 3000)
const PACE = Number(process.env.PACE ?? 1500)
const PAGE = readFileSync(new URL("index.html", import.meta.url))
const STEPS = ["placed", "paid", "packed", "shipped", "delivered"]

/** Asks until it is answered. A repeated append does no harm: the producer's headers tell that it is the same one. */
async function persistently(url, request) {
  for (let wait = 100; ; wait = Math.min(2 * wait, 5000)) {
    try {
      const response = await fetch(url, request)
      if (response.ok) return
      if (response.status < 500) throw new Error(`${response.status}: ${await response.text()}`, { cause: "final" })
    } catch (error) {
      if (error.cause === "final") throw error
    }
    await new Promise((resolve) => setTimeout(resolve, wait))
  }
}

/** An order's life, from its first event to the close of its stream. */
async function fulfil(order) {
  const url = `${TOKENRILL}/v1/stream/order-${order}`
  for (const [seq, step] of STEPS.entries()) {
    const last = seq === STEPS.length - 1
    await persistently(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "producer-id": "shop",
        "producer-epoch": "0",
        "producer-seq": String(seq),
        ...(last ? { "stream-closed": "true" } : {}),
      },
      body: JSON.stringify({ order, step, at: new Date().toISOString() }),
    })
    if (!last) await new Promise((resolve) => setTimeout(resolve, PACE))
  }
}

async function placeOrder(response) {
  const order = randomUUID()
  // Kept for a day after the last one who looked.
  const headers = { "content-type": "application/json", "stream-ttl": "86400" }
  await persistently(`${TOKENRILL}/v1/stream/order-${order}`, { method: "PUT", headers })
  fulfil(order).catch((error) => console.error(`order ${order}: ${error.message}`))
  response.writeHead(201, { "content-type": "application/json" })
  response.end(JSON.stringify({ order, events: `/v1/stream/order-${order}` }))
}

/** The page's origin serves the events, too, as a reverse proxy would. Only reading is let through. */
function passOn(request, response) {
  const upstream = http.get(TOKENRILL + request.url, { headers: request.headers, agent: false }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers)
    answer.pipe(response)
  })
  upstream.on("error", () => response.destroy())
  response.on("close", () => upstream.destroy())
}

const shop = http.createServer((request, response) => {
  const { method, url } = request
  if (method === "GET" && url === "/") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(PAGE)
  } else if (method === "POST" && url === "/orders") {
    placeOrder(response).catch((error) => response.writeHead(502).end(error.message))
  } else if (method === "GET" && url.startsWith("/v1/stream/order-")) {
    passOn(request, response)
  } else {
    response.writeHead(404).end()
  }
})
shop.listen(PORT, "127.0.0.1", () => console.log(`the shop is open on http://127.0.0.1:${shop.address().port}`))
