// The official Node SDKs and the Vercel AI SDK behind one face: `ask` asks, runs the tools that are called if there are
// `results` for them, goes on with `then`, and gives what was said in the end.
import { createRequire } from "node:module"

const require = createRequire(new URL("../.tools/node/package.json", import.meta.url))

export const { default: OpenAI } = require("openai")
export const { default: Anthropic } = require("@anthropic-ai/sdk")
const { streamText, stepCountIs, jsonSchema, tool, APICallError: CallError } = require("ai")
const { createOpenAI } = require("@ai-sdk/openai")
const { createAnthropic } = require("@ai-sdk/anthropic")
export const APICallError = CallError

globalThis.AI_SDK_LOG_WARNINGS = false

const OPTIONS = { apiKey: "any", maxRetries: 0, timeout: 60_000 }
const openai = (url) => new OpenAI({ baseURL: `${url}/v1`, ...OPTIONS })
const anthropic = (url) => new Anthropic({ baseURL: url, ...OPTIONS })

/** Asks turn after turn: `turn` makes one request and gives { said, back, answered }. */
async function converse(turn, first, { results, then }) {
  const turns = [...first]
  const calls = []
  let pieces = 0
  let reasoning = ""
  for (let left = 4; left > 0; left--) {
    const { said, back, answered } = await turn(turns)
    calls.push(...said.calls)
    pieces += said.pieces
    reasoning += said.reasoning
    if (said.calls.length && results) {
      turns.push(...back, ...answered(results))
    } else if (then) {
      turns.push(...back, { role: "user", content: then })
      then = null
      reasoning = said.reasoning
      if (!reasoning) return { ...said, calls, pieces, reasoning }
    } else {
      return { ...said, calls: calls.map(([name, input]) => [name, input]), pieces, reasoning }
    }
  }
  throw new Error("it calls its tools again and again")
}

const chat = {
  name: "openai chat",
  sdk: "openai",
  thinks: true,
  finish: { stop: "stop", length: "length", filter: "content_filter" },
  piece: (chunk) => chunk.choices[0]?.delta.content ?? "",
  isEnd: (chunk) => chunk.choices.some((choice) => choice.finish_reason),
  ask(url, model, { prompt, tools = {}, think, seen = [], ...more }) {
    const functions = Object.entries(tools).map(([name, parameters]) => ({ type: "function", function: { name, parameters } }))
    const turn = async (messages) => {
      const asked = { model, messages, stream_options: { include_usage: true } }
      if (functions.length) asked.tools = functions
      if (think) asked.reasoning_effort = "medium"
      const stream = openai(url).chat.completions.stream(asked)
      let pieces = 0
      let reasoning = ""
      for await (const chunk of stream) {
        seen.push(chunk)
        pieces += 1
        reasoning += chunk.choices[0]?.delta.reasoning_content ?? ""
      }
      const { choices, usage } = await stream.finalChatCompletion()
      const { message, finish_reason } = choices[0]
      const called = message.tool_calls ?? []
      const said = {
        text: message.content ?? "",
        refusal: message.refusal ?? "",
        reasoning,
        calls: called.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
        finish: finish_reason,
        input: usage.prompt_tokens,
        output: usage.completion_tokens,
        pieces,
      }
      const answered = (results) =>
        called.map((call) => ({ role: "tool", tool_call_id: call.id, content: results(call.function.name) }))
      return { said, back: [message], answered }
    }
    return converse(turn, [{ role: "user", content: prompt }], more)
  },
}

const responses = {
  name: "openai responses",
  sdk: "openai",
  thinks: true,
  finish: { stop: "completed", length: "max_output_tokens", filter: "content_filter" },
  piece: (event) => (event.type === "response.output_text.delta" ? event.delta : ""),
  isEnd: (event) => ["response.completed", "response.incomplete"].includes(event.type),
  ask(url, model, { prompt, tools = {}, think, seen = [], ...more }) {
    const functions = Object.entries(tools).map(([name, parameters]) => ({ type: "function", name, parameters, strict: false }))
    const turn = async (input) => {
      const asked = { model, input, store: false }
      if (functions.length) asked.tools = functions
      if (think) Object.assign(asked, { include: ["reasoning.encrypted_content"], reasoning: { summary: "auto" } })
      const stream = openai(url).responses.stream(asked)
      let pieces = 0
      for await (const event of stream) {
        seen.push(event)
        pieces += 1
      }
      const last = seen.at(-1) // The SDK accumulates complete responses only.
      const final = last.type === "response.incomplete" ? last.response : await stream.finalResponse()
      const said = { text: "", refusal: "", reasoning: "", calls: [], pieces }
      const called = []
      for (const item of final.output) {
        if (item.type === "message") {
          for (const part of item.content) part.type === "refusal" ? (said.refusal += part.refusal) : (said.text += part.text)
        } else if (item.type === "reasoning") {
          said.reasoning += item.summary.map((part) => part.text).join("")
        } else {
          called.push(item)
          said.calls.push([item.name, JSON.parse(item.arguments)])
        }
      }
      said.finish = final.incomplete_details?.reason ?? final.status
      said.input = final.usage.input_tokens
      said.output = final.usage.output_tokens
      const back = final.output.map(({ parsed_arguments, ...item }) => item)
      const answered = (results) =>
        called.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: results(call.name) }))
      return { said, back, answered }
    }
    return converse(turn, [{ role: "user", content: prompt }], more)
  },
}

const messages = {
  name: "anthropic",
  sdk: "anthropic",
  thinks: true,
  finish: { stop: "end_turn", length: "max_tokens", filter: "refusal" },
  piece: (event) => (event.type === "content_block_delta" && event.delta.type === "text_delta" ? event.delta.text : ""),
  isEnd: (event) => event.type === "message_stop" || event.type === "message_delta",
  ask(url, model, { prompt, tools = {}, think, seen = [], ...more }) {
    const declared = Object.entries(tools).map(([name, input_schema]) => ({ name, input_schema }))
    const turn = async (turns) => {
      const asked = { model, messages: turns, max_tokens: 4096 }
      if (declared.length) asked.tools = declared
      if (think) asked.thinking = { type: "enabled", budget_tokens: 1024 }
      const stream = anthropic(url).messages.stream(asked)
      let pieces = 0
      for await (const event of stream) {
        seen.push(event)
        pieces += 1
      }
      const { content, usage, stop_reason } = await stream.finalMessage()
      const of = (type) => content.filter((block) => block.type === type)
      const said = {
        text: of("text").map((block) => block.text).join(""),
        refusal: "",
        reasoning: of("thinking").map((block) => block.thinking).join(""),
        calls: of("tool_use").map((block) => [block.name, block.input]),
        finish: stop_reason,
        input: usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
        output: usage.output_tokens,
        pieces,
      }
      const answered = (results) => [
        {
          role: "user",
          content: of("tool_use").map(({ id, name }) => ({ type: "tool_result", tool_use_id: id, content: results(name) })),
        },
      ]
      return { said, back: [{ role: "assistant", content }], answered }
    }
    return converse(turn, [{ role: "user", content: prompt }], more)
  },
}

/** The Vercel AI SDK runs the tools itself, step after step. */
function vercel(name, { thinks, options, modelOf }) {
  return {
    name: `ai sdk, ${name}`,
    sdk: "vercel",
    thinks,
    finish: { stop: "stop", length: "length", filter: "content-filter" },
    piece: (part) => (part.type === "text-delta" ? part.text : ""),
    isEnd: (part) => part.type === "finish-step" && part.finishReason !== "error",
    async ask(url, model, { prompt, tools = {}, think, seen = [], results, then }) {
      const made = Object.entries(tools).map(([name, schema]) => {
        const input = { inputSchema: jsonSchema(schema) }
        return [name, tool(results ? { ...input, execute: () => results(name) } : input)]
      })
      const asked = (messages) =>
        streamText({
          model: modelOf(url, model),
          messages,
          ...(made.length ? { tools: Object.fromEntries(made) } : {}),
          ...(think ? { providerOptions: options } : {}),
          stopWhen: stepCountIs(4),
          maxRetries: 0,
          maxOutputTokens: 4096,
          onError() {}, // It is thrown below.
        })
      const turns = [{ role: "user", content: prompt }]
      let result = asked(turns)
      const said = { text: "", refusal: "", reasoning: "", calls: [], pieces: 0 }
      const read = async () => {
        for await (const part of result.fullStream) {
          seen.push(part)
          if (part.type === "error") throw part.error instanceof Error ? part.error : new Error(JSON.stringify(part.error))
          if (part.type === "text-delta") said.text += part.text
          if (part.type === "reasoning-delta") said.reasoning += part.text
          if (part.type === "tool-call") said.calls.push([part.toolName, part.input])
          said.pieces += 1
        }
      }
      await read()
      if (then) {
        const { messages } = await result.response
        result = asked([...turns, ...messages, { role: "user", content: then }])
        said.text = ""
        await read()
      }
      const usage = await result.totalUsage
      return { ...said, finish: await result.finishReason, input: usage.inputTokens, output: usage.outputTokens }
    },
  }
}

const provider = (create) => (url) => create({ baseURL: `${url}/v1`, apiKey: "any" })
const vercelOpenAI = provider(createOpenAI)
const vercelAnthropic = provider(createAnthropic)

export const clients = [
  chat,
  responses,
  messages,
  vercel("chat", { thinks: false, modelOf: (url, model) => vercelOpenAI(url).chat(model) }),
  vercel("responses", {
    thinks: true,
    options: { openai: { store: false, reasoningSummary: "auto", forceReasoning: true, include: ["reasoning.encrypted_content"] } },
    modelOf: (url, model) => vercelOpenAI(url).responses(model),
  }),
  vercel("anthropic", {
    thinks: true,
      options: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
    modelOf: (url, model) => vercelAnthropic(url)(model),
  }),
]
