// What a user of the types may write, and what they are kept from. Compiled only, never run.
import { type Cancelled, type Frame, generate, resume, Stream, StreamError } from "tokenrill"

const base = "http://127.0.0.1:8080"

export async function allowed(signal: AbortSignal): Promise<string> {
  const stream: Stream = await generate(base, { prompt: "Hello", model: "mock", linger: "30s", signal, headers: { a: "b" } })
  for await (const token of stream) console.log(token.length)
  for await (const frame of stream.events()) console.log((frame satisfies Frame).id.length)
  const cancelled: Cancelled = await stream.cancel()
  const stored: ReturnType<Stream["toJSON"]> = JSON.parse(JSON.stringify(stream))
  await resume(new URL(base), stored)
  await resume(base, stream)
  await generate(base, { path: "/v1/chat/completions", body: { messages: [] }, linger: 0, dialect: "openai-chat" })
  return cancelled.status + (await stream.text())
}

export function told(error: unknown): number | undefined {
  return error instanceof StreamError && error.code === "not_found" ? error.status : undefined
}

export async function refused(stream: Stream): Promise<void> {
  // @ts-expect-error a prompt or a path is missing
  await generate(base, { model: "mock" })
  // @ts-expect-error a path needs a body
  await generate(base, { path: "/stream" })
  // @ts-expect-error a prompt is a text
  await generate(base, { prompt: 1 })
  // @ts-expect-error there is no such dialect
  await resume(base, { id: "stm_x", dialect: "morse" })
  // @ts-expect-error the id is the server's
  stream.id = "stm_x"
  // @ts-expect-error made by generate and resume
  new Stream()
}
