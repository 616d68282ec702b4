// The official OpenAI SDK for Node, unmodified, against the mock and against a scripted upstream.
import assert from "node:assert/strict"
import { test } from "node:test"

import { frame, inFrontOf, refuse, shared, start, upstream, within } from "./harness.mjs"
import { OpenAI } from "./packages.mjs"

const TIMEOUT = { timeout: 60_000 }
const messages = [{ role: "user", content: "What is a rill?" }]
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } },
  },
}

const server = shared({ TOKENRILL_MOCK_TOKENS_PER_SECOND: "0" })
const mock = () => clientOf(server)

function clientOf(server, more = {}) {
  return new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "any", maxRetries: 0, timeout: 60_000, ...more })
}

function ask(client, model, more = {}) {
  return client.chat.completions.create({ model, messages, ...more })
}

async function collect(stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return chunks
}

function textOf(chunks) {
  return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")
}

test("a streamed answer is the whole answer", TIMEOUT, async () => {
  const chunks = await collect(await ask(mock(), "mock", { stream: true }))
  const whole = await ask(mock(), "mock")
  assert.equal(textOf(chunks), whole.choices[0].message.content)
  assert.ok(chunks.length > 20)
  assert.equal(chunks[0].choices[0].delta.role, "assistant")
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop")
  assert.equal(whole.choices[0].finish_reason, "stop")
  assert.equal(chunks.filter((chunk) => chunk.usage).length, 0)
})

test("any text comes back exactly", TIMEOUT, async () => {
  const text = "  a\r\nb\rc\n\n[DONE]\ndata: [DONE]\n\n你好 🌊 \u2028\u0085 {{7*7}}"
  const messages = [{ role: "user", content: text }]
  assert.equal(textOf(await collect(await ask(mock(), "mock-echo", { messages, stream: true }))), text)
  assert.equal((await ask(mock(), "mock-echo", { messages })).choices[0].message.content, text)
  const done = [{ role: "user", content: "[DONE]" }]
  assert.equal(textOf(await collect(await ask(mock(), "mock-echo", { messages: done, stream: true }))), "[DONE]")
})

test("usage comes last when asked for", TIMEOUT, async () => {
  const chunks = await collect(await ask(mock(), "mock-fast", { stream: true, stream_options: { include_usage: true } }))
  const last = chunks.at(-1)
  assert.deepEqual(last.choices, [])
  assert.deepEqual(last.usage, (await ask(mock(), "mock-fast")).usage)
  assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + last.usage.completion_tokens)
})

test("reasoning can be read", TIMEOUT, async () => {
  const chunks = await collect(await ask(mock(), "mock-think", { stream: true }))
  const reasoning = chunks.map((chunk) => chunk.choices[0].delta.reasoning_content ?? "").join("")
  const { message } = (await ask(mock(), "mock-think")).choices[0]
  assert.ok(reasoning)
  assert.equal(message.reasoning_content, reasoning)
  assert.equal(message.content, textOf(chunks))
})

test("the SDK runs a tool and gets an answer", TIMEOUT, async () => {
  const asked = []
  const tool = { ...weather, function: { ...weather.function, parse: JSON.parse, function: (input) => (asked.push(input), "sunny") } }
  for (const stream of [true, false]) {
    const runner = mock().chat.completions.runTools({ model: "mock-tool", messages, tools: [tool], stream }, { maxChatCompletions: 4 })
    assert.ok(await runner.finalContent())
  }
  assert.equal(asked.length, 2, "each run calls the tool once")
  assert.deepEqual(asked[0], asked[1])
  assert.equal(typeof asked[0].city, "string")
  assert.equal(typeof asked[0].days, "number")
})

test("the SDK accumulates a stream", TIMEOUT, async () => {
  const runner = mock().chat.completions.stream({ model: "mock-tool", messages, tools: [weather] })
  const final = await runner.finalChatCompletion()
  assert.equal(final.choices[0].finish_reason, "tool_calls")
  const [call] = final.choices[0].message.tool_calls
  assert.equal(call.function.name, "get_weather")
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)).sort(), ["city", "days"])
})

test("models are listed and found", TIMEOUT, async () => {
  const ids = (await collect(await mock().models.list())).map((model) => model.id)
  assert.ok(ids.includes("mock") && ids.includes("mock-echo"))
  assert.equal((await mock().models.retrieve("mock-echo")).id, "mock-echo")
  await assert.rejects(mock().models.retrieve("nobody"), OpenAI.NotFoundError)
})

for (const stream of [true, false]) {
  const way = stream ? "streaming" : "not streaming"

  test(`the mock's refusals have their types, ${way}`, TIMEOUT, async () => {
    await assert.rejects(ask(mock(), "nobody", { stream }), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError)
      assert.equal(error.code, "model_not_found")
      assert.ok(error.requestID)
      return true
    })
    await assert.rejects(ask(mock(), "mock-ratelimit", { stream }), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError)
      assert.equal(error.headers.get("retry-after"), "1")
      return true
    })
    await assert.rejects(ask(mock(), "mock-error", { stream }), (error) => {
      assert.ok(error instanceof OpenAI.InternalServerError)
      assert.equal(error.status, 503)
      return true
    })
    await assert.rejects(ask(mock(), "mock", { stream, messages: "hello" }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError)
      assert.equal(error.param, "messages")
      return true
    })
  })

  test(`the upstream's refusals have their types, ${way}`, TIMEOUT, async (t) => {
    const up = await upstream(t.after.bind(t))
    const client = clientOf(await start(t.after.bind(t), inFrontOf(up)))
    const kinds = {
      400: OpenAI.BadRequestError,
      401: OpenAI.AuthenticationError,
      403: OpenAI.PermissionDeniedError,
      404: OpenAI.NotFoundError,
      422: OpenAI.UnprocessableEntityError,
      429: OpenAI.RateLimitError,
      500: OpenAI.InternalServerError,
      503: OpenAI.InternalServerError,
    }
    for (const [status, kind] of Object.entries(kinds)) {
      const body = { message: "no", type: "t", param: "p", code: "c", more: [1] }
      const asked = assert.rejects(ask(client, "m", { stream }), (error) => {
        assert.ok(error instanceof kind, `${status} became ${error}`)
        assert.equal(error.status, Number(status))
        assert.deepEqual(error.error, body)
        assert.equal(error.headers.get("retry-after"), "7")
        return true
      })
      refuse(await up.next(), Number(status), { error: body }, { "retry-after": "7" })
      await asked
    }
    assert.equal(up.seen(), Object.keys(kinds).length)
    assert.equal(up.waiting(), 0, "nothing was sent twice")
  })
}

test("the SDK's own retry gets its answer", TIMEOUT, async (t) => {
  const up = await upstream(t.after.bind(t))
  const client = clientOf(await start(t.after.bind(t), inFrontOf(up)), { maxRetries: 2 })
  const asked = ask(client, "m")
  refuse(await up.next(), 503, { error: { message: "not now" } }, { "retry-after": "1" })
  const message = { role: "assistant", content: "there you are" }
  refuse(await up.next(), 200, { id: "x", object: "chat.completion", choices: [{ index: 0, message, finish_reason: "stop" }] })
  assert.equal((await asked).choices[0].message.content, "there you are")
})

test("a stream that breaks raises after what was said", TIMEOUT, async () => {
  const said = []
  await assert.rejects(
    async () => {
      for await (const chunk of await ask(mock(), "mock-break", { stream: true })) {
        assert.equal(chunk.choices[0].finish_reason ?? null, null)
        said.push(chunk.choices[0].delta.content ?? "")
      }
    },
    (error) => {
      assert.ok(error instanceof OpenAI.APIError, String(error))
      assert.ok(!(error instanceof OpenAI.APIConnectionError), "an error frame, not a cut connection")
      assert.equal(error.code, "upstream_reset")
      return true
    },
  )
  const whole = (await ask(mock(), "mock-fast")).choices[0].message.content
  assert.equal(said.filter(Boolean).length, 10)
  assert.ok(whole.startsWith(said.join("")))
})

// The SDK takes two equal line ends for the end of a frame: an upstream's CRLF, cut anywhere, must not become a mixture.
for (const lineEnd of ["\n", "\r\n"]) {
  for (const cut of ["whole frames", "single bytes"]) {
    const name = `each token arrives before the next one is sent: ${cut}, lines end in ${JSON.stringify(lineEnd)}`
    test(name, TIMEOUT, async (t) => {
      const up = await upstream(t.after.bind(t))
      const client = clientOf(await start(t.after.bind(t), inFrontOf(up)))
      const asked = ask(client, "m", { stream: true })
      const { response } = await up.next()
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.flushHeaders()
      response.socket.setNoDelay(true)
      const write = async (text) => {
        const bytes = Buffer.from(text.replaceAll("\n", lineEnd))
        const size = cut === "single bytes" ? 1 : bytes.length
        for (let at = 0; at < bytes.length; at += size) {
          await new Promise((written) => response.write(bytes.subarray(at, at + size), written))
        }
      }
      const iterator = (await within(asked, "the head"))[Symbol.asyncIterator]()
      for (let n = 0; n < 20; n++) {
        await write(frame({ content: `token${n}` }))
        const { value } = await within(iterator.next(), `token ${n}`)
        assert.equal(value.choices[0].delta.content, `token${n}`)
      }
      await write(frame({}, "stop") + "data: [DONE]\n\n")
      response.end()
      assert.equal((await within(iterator.next(), "the finish")).value.choices[0].finish_reason, "stop")
      assert.equal((await within(iterator.next(), "the end")).done, true)
    })
  }
}

for (const phase of ["before the head", "before the first token", "after the first token", "not streaming"]) {
  test(`a client that leaves cancels upstream: ${phase}`, TIMEOUT, async (t) => {
    const up = await upstream(t.after.bind(t))
    const client = clientOf(await start(t.after.bind(t), inFrontOf(up)))
    const abort = new AbortController()
    const stream = phase !== "not streaming"
    const asked = client.chat.completions.create({ model: "m", messages, stream }, { signal: abort.signal })
    const { response, gone } = await up.next()
    if (phase === "before the head" || !stream) {
      abort.abort()
      await assert.rejects(asked, OpenAI.APIUserAbortError)
    } else {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.flushHeaders()
      const answer = await within(asked, "the head")
      if (phase === "before the first token") {
        abort.abort()
      } else {
        response.write(frame({ content: "one" }))
        for await (const chunk of answer) {
          assert.equal(chunk.choices[0].delta.content, "one")
          break // Leaving the loop is how a user of the SDK hangs up.
        }
      }
    }
    assert.equal(await within(gone, "the end of the upstream's connection"), false, "cut, not finished")
  })
}
