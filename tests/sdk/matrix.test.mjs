// The official Node SDKs and the Vercel AI SDK in front of every upstream dialect: what each shows is what the mock says
// when asked directly.
//
// One server has only the mock; another stands in front of it with a provider for each dialect, so that every pair of a
// client's and an upstream's dialect crosses real HTTP twice. What holds is printed as a table at the end, and written
// as Markdown beside the file that MATRIX_MD names.
import assert from "node:assert/strict"
import { writeFileSync } from "node:fs"
import { after, before, test } from "node:test"

import { clients, OpenAI, Anthropic, APICallError } from "./clients.mjs"
import { start } from "./harness.mjs"

const UPSTREAMS = {
  chat: ["openai-chat", "/v1"],
  responses: ["openai-responses", "/v1"],
  anthropic: ["anthropic", ""],
  gemini: ["gemini", "/v1beta"],
}
const MODELS = ["mock", "mock-echo", "mock-error", "mock-ratelimit", "mock-break", "mock-tool", "mock-think"]
MODELS.push("mock-parallel", "mock-refusal", "mock-length", "mock-filter")
const PROMPT = "What is a rill?"
const WEATHER = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
  additionalProperties: false,
}
const CLOCK = { type: "object", properties: { zone: { type: "string", enum: ["CET", "UTC"] } }, required: ["zone"] }
const TOOLS = { get_weather: WEATHER, get_time: CLOCK }

const mock = {}
const front = {}
const ends = []

before(async () => {
  const onEnd = (end) => ends.unshift(end)
  Object.assign(mock, await start(onEnd, "", { TOKENRILL_MOCK_TOKENS_PER_SECOND: "0" }))
  let providers = ""
  let models = ""
  for (const [name, [dialect, path]] of Object.entries(UPSTREAMS)) {
    providers += `[providers.${name}]\ndialect = "${dialect}"\nbase_url = "${mock.url}${path}"\n`
    for (const model of MODELS) {
      models += `[[models]]\nname = "${name}-${model}"\ntargets = [{ provider = "${name}", model = "${model}" }]\n`
    }
  }
  Object.assign(front, await start(onEnd, providers + models))
})

after(async () => {
  report()
  for (const end of ends) await end()
})

/** What the mock says without anything in between, in the dialect that needs no translation. */
async function directly(model, tools = {}) {
  const functions = Object.entries(tools).map(([name, parameters]) => ({ type: "function", function: { name, parameters } }))
  const body = { model, messages: [{ role: "user", content: PROMPT }], ...(functions.length ? { tools: functions } : {}) }
  const headers = { "content-type": "application/json" }
  const answer = await fetch(`${mock.url}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body) })
  assert.equal(answer.status, 200)
  const { choices, usage } = await answer.json()
  const { content, refusal, reasoning_content, tool_calls } = choices[0].message
  return {
    text: content ?? "",
    refusal: refusal ?? "",
    reasoning: reasoning_content ?? "",
    calls: (tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    input: usage.prompt_tokens,
    output: usage.completion_tokens,
  }
}

const cells = new Map()
const features = []

/** One test for every client and upstream: a column of the table. */
function feature(name, run, suits = () => true) {
  if (!features.includes(name)) features.push(name)
  for (const client of clients.filter(suits)) {
    for (const upstream of Object.keys(UPSTREAMS)) {
      test(`${name}: ${client.name} in front of ${upstream}`, { timeout: 60_000 }, async () => {
        const row = `${client.name} | ${upstream}`
        if (!cells.has(row)) cells.set(row, {})
        cells.get(row)[name] = false
        const ask = (model, more = {}) => client.ask(front.url, `${upstream}-${model}`, { prompt: PROMPT, ...more })
        await run({ client, upstream, ask })
        cells.get(row)[name] = true
      })
    }
  }
}

function report() {
  const marks = { true: "✓", false: "✗", undefined: "–" }
  const lines = [`| client | upstream | ${features.join(" | ")} |`, `| --- | --- |${" :-: |".repeat(features.length)}`]
  for (const [row, held] of cells) lines.push(`| ${row} | ${features.map((name) => marks[held[name]]).join(" | ")} |`)
  console.log(`\n${lines.join("\n")}\n`)
  if (process.env.MATRIX_MD) writeFileSync(process.env.MATRIX_MD.replace(/(\.md)?$/, ".node.md"), `${lines.join("\n")}\n`)
}

feature("text", async ({ client, ask }) => {
  const said = await ask("mock")
  assert.equal(said.text, (await directly("mock")).text)
  assert.equal(said.finish, client.finish.stop)
  assert.ok(said.pieces > 20, "a stream comes in many pieces")
  assert.deepEqual(said.calls, [])
})

feature("any text", async ({ ask }) => {
  const prompt = "  a\r\nb\rc\n\n[DONE]\ndata: [DONE]\n\n你好 🌊 \u2028\u0085 {{7*7}} \\u0041  end"
  assert.equal((await ask("mock-echo", { prompt })).text, prompt)
})

feature("tool round trip", async ({ client, ask }) => {
  const said = await ask("mock-tool", { tools: { get_weather: WEATHER }, results: () => "sunny" })
  const direct = await directly("mock-tool", { get_weather: WEATHER })
  assert.deepEqual(said.calls, direct.calls)
  assert.equal(said.text, (await directly("mock")).text, "with its result at hand the model answers")
  assert.equal(said.finish, client.finish.stop)
})

feature("parallel tools", async ({ ask }) => {
  const said = await ask("mock-parallel", { tools: TOOLS, results: (name) => `result of ${name}` })
  const direct = await directly("mock-parallel", TOOLS)
  assert.equal(direct.calls.length, 2)
  assert.deepEqual(said.calls, direct.calls)
  assert.equal(said.text, (await directly("mock")).text)
})

feature(
  "thinking",
  async ({ ask }) => {
    const said = await ask("mock-think", { think: true })
    const direct = await directly("mock-think")
    assert.notEqual(said.reasoning, "")
    assert.equal(said.reasoning, direct.reasoning)
    assert.equal(said.text, direct.text)
  },
  (client) => client.thinks,
)

feature(
  "thinking played back",
  async ({ ask }) => {
    const said = await ask("mock-think", { think: true, then: "And a stream?" })
    assert.notEqual(said.reasoning, "")
    assert.match(said.text, /And a stream\?/, "the second answer quotes the second prompt")
  },
  (client) => client.thinks,
)

feature("refusal", async ({ client, ask }) => {
  const said = await ask("mock-refusal")
  const direct = await directly("mock-refusal")
  assert.ok(said.refusal || said.finish === client.finish.filter, JSON.stringify(said))
  assert.equal(said.text + said.refusal, direct.text + direct.refusal)
  assert.deepEqual(said.calls, [])
})

feature("length", async ({ client, ask }) => {
  const said = await ask("mock-length")
  assert.equal(said.finish, client.finish.length)
  assert.equal(said.text, (await directly("mock-length")).text)
})

feature("content filter", async ({ client, ask }) => {
  const said = await ask("mock-filter")
  assert.equal(said.finish, client.finish.filter)
  assert.equal(said.text, (await directly("mock-filter")).text)
})

feature("usage", async ({ ask }) => {
  const said = await ask("mock")
  const { input, output } = await directly("mock")
  assert.ok(input > 0 && output > 0)
  assert.deepEqual([said.input, said.output], [input, output])
})

const classes = {
  openai: { 503: OpenAI.InternalServerError, 429: OpenAI.RateLimitError },
  anthropic: { 503: Anthropic.InternalServerError, 429: Anthropic.RateLimitError },
  vercel: { 503: APICallError, 429: APICallError },
}

feature("early error", async ({ client, ask }) => {
  for (const [model, status, retryAfter] of [
    ["mock-error", 503, null],
    ["mock-ratelimit", 429, "1"],
  ]) {
    await assert.rejects(ask(model), (error) => {
      assert.ok(error instanceof classes[client.sdk][status], `${error.name}: ${error.message}`)
      assert.equal(error.status ?? error.statusCode, status)
      const headers = error.headers ?? new Headers(error.responseHeaders)
      assert.equal(headers.get("retry-after"), retryAfter)
      assert.ok(headers.get("x-request-id"))
      return true
    })
  }
})

feature("late error", async ({ client, ask }) => {
  const seen = []
  await assert.rejects(ask("mock-break", { seen }), (error) => {
    assert.ok(!/AssertionError|TypeError|Connection/.test(error.name), `${error.name}: ${error.message}`)
    return true
  })
  const text = seen.map(client.piece).join("")
  assert.notEqual(text, "")
  assert.ok((await directly("mock")).text.startsWith(text))
  assert.ok(!seen.some(client.isEnd), "a broken answer never looks complete")
})
