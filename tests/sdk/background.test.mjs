// OpenAI's background mode through its own SDK for Node: create, poll, stream from any event, cancel, delete.
import assert from "node:assert/strict"
import { after, before, describe, test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"

import { start, within } from "./harness.mjs"
import { OpenAI } from "./packages.mjs"

const TIMEOUT = { timeout: 60_000 }
const UPSTREAMS = ["mock", "chat", "responses"]

function clientOf(server) {
  return new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "any", maxRetries: 0, timeout: 60_000 })
}

/** A client of the mock itself, or of a server in front of it. */
async function serve(onEnd, upstream) {
  const mock = await start(onEnd, "", { TOKENRILL_MOCK_TOKENS_PER_SECOND: "0" })
  if (upstream === "mock") return clientOf(mock)
  const provider = `[providers.up]\ndialect = "openai-${upstream}"\nbase_url = "${mock.url}/v1"\n`
  const models = `[[models]]\nname = "*"\ntargets = [{ provider = "up" }]\n`
  return clientOf(await start(onEnd, provider + models))
}

/** As OpenAI's guide has it. */
async function polled(client, response) {
  const poll = async () => {
    while (response.status === "queued" || response.status === "in_progress") {
      await sleep(20)
      response = await client.responses.retrieve(response.id)
    }
    return response
  }
  return within(poll(), "the response's end")
}

async function collect(stream) {
  const events = []
  for await (const event of stream) events.push(event)
  return events
}

for (const upstream of UPSTREAMS) describe(upstream, () => {
  let client
  const ends = []
  before(async () => {
    client = await serve((end) => ends.push(end), upstream)
  })
  after(async () => {
    for (const end of ends) await end()
  })

  test("create and poll", TIMEOUT, async () => {
    const ask = { model: "mock", input: "What is a rill?" }
    const created = await client.responses.create({ ...ask, background: true })
    assert.deepEqual([created.status, created.background, created.output], ["queued", true, []])
    const background = await polled(client, created)
    const foreground = await client.responses.create(ask)
    assert.deepEqual([background.id, background.status, background.error], [created.id, "completed", null])
    assert.ok(background.output_text)
    assert.equal(background.output_text, foreground.output_text)
    assert.deepEqual(background.usage, foreground.usage)
  })

  test("a stream is resumed after every event", TIMEOUT, async () => {
    const ask = { model: "mock", input: "What is a rill?", background: true, stream: true }
    const whole = await collect(await client.responses.create(ask))
    assert.deepEqual([whole[0].type, whole.at(-1).type], ["response.created", "response.completed"])
    const { id } = whole[0].response
    for (const [at, event] of whole.entries()) {
      assert.equal(event.sequence_number, at)
      const rest = await client.responses.retrieve(id, { stream: true, starting_after: event.sequence_number })
      assert.deepEqual(await collect(rest), whole.slice(at + 1))
    }
    assert.deepEqual(await collect(await client.responses.retrieve(id, { stream: true })), whole)
    assert.deepEqual((await client.responses.retrieve(id)).output, whole.at(-1).response.output)
  })

  test("the SDK's own helper goes on with a response", TIMEOUT, async () => {
    const created = await client.responses.create({ model: "mock", input: "Hi", background: true })
    const final = await client.responses.stream({ response_id: created.id }).finalResponse()
    assert.ok(final.output[0].content[0].text)
    assert.deepEqual(final.output[0].content[0].text, (await polled(client, created)).output_text)
    const rest = await collect(client.responses.stream({ response_id: created.id, starting_after: 3 }))
    assert.equal(rest[0].sequence_number, 4)
  })

  test("cancel and delete", TIMEOUT, async () => {
    const { id } = await client.responses.create({ model: "mock-stall", input: "Hi", background: true })
    const cancelled = await client.responses.cancel(id)
    assert.deepEqual([cancelled.id, cancelled.status], [id, "cancelled"])
    assert.deepEqual(await client.responses.cancel(id), cancelled)
    const { output_text: _, ...retrieved } = await client.responses.retrieve(id)
    assert.deepEqual(retrieved, cancelled)
    await client.responses.delete(id)
    await assert.rejects(client.responses.retrieve(id), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError)
      return error.code === "response_not_found"
    })
  })

  test("what goes wrong is told in the response", TIMEOUT, async () => {
    const failed = await polled(client, await client.responses.create({ model: "mock-break", input: "Hi", background: true }))
    assert.deepEqual([failed.status, failed.error.code], ["failed", "server_error"])
  })
})
