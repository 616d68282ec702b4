/** How a stream's frames are written. `plain-json` is plain text with each token as a JSON string. */
export type Dialect = "plain" | "plain-json" | "openai-chat" | "openai-responses" | "anthropic" | "gemini"

/** One server-sent event, as it came. */
export interface Frame {
  /** Empty where the server sends no ids. */
  id: string
  event: string
  data: string
}

export interface Options {
  /** Ends the reading. It does not cancel the generation. */
  signal?: AbortSignal
  /** Sent with every request, such as `authorization`. */
  headers?: HeadersInit
  /** Instead of the global fetch. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>
  /** For how many milliseconds without a connection it tries to resume, before it throws `connection_lost`; 60,000. */
  patience?: number
  /** After how many milliseconds without a byte, heartbeats included, a connection counts as lost; 45,000. */
  silence?: number
  /** Which way of writing frames it is; what the path answers in, or `plain-json`. */
  dialect?: Dialect
}

export interface StartOptions extends Options {
  /** For how long the generation may run on without a reader, such as `"15s"` (the default); 0: it can't be resumed. */
  linger?: string | number
  /** How often a request that was refused for the moment is sent again, before there is a stream; 2. */
  retries?: number
}

/** A prompt for `/stream`. */
export interface PromptOptions extends StartOptions {
  prompt: string
  model?: string
  system?: string
  max_tokens?: number
  temperature?: number
  path?: undefined
  body?: undefined
}

/** A request to any endpoint that streams. */
export interface RequestOptions extends StartOptions {
  /** Such as `/v1/chat/completions` or `/prompts/translate`. */
  path: string
  body: Record<string, unknown>
}

export type GenerateOptions = PromptOptions | RequestOptions

/** Where to go on: a stream's id, or the id of an event of it, or both. A `Stream`, or what its `toJSON` gave, is one. */
export interface ResumeOptions extends Options {
  id?: string
  /** The last event that was read; without one, from the start. */
  lastEventId?: string
}

export interface Cancelled {
  id?: string
  status: "cancelled" | "completed" | "failed" | (string & {})
  next_offset?: string
}

/** One answer. Iterating gives the pieces of its text; leaving the loop closes the connection and does not cancel. */
export declare class Stream implements AsyncIterable<string> {
  private constructor()
  /** Undefined where the server gave it none, because it does not linger. */
  readonly id: string | undefined
  /** The last event that was handed over. */
  readonly lastEventId: string | undefined
  readonly dialect: Dialect
  /** Whether nothing more is to come. */
  readonly ended: boolean
  [Symbol.asyncIterator](): AsyncIterableIterator<string>
  /** The frames themselves, the end mark included. */
  events(): AsyncIterableIterator<Frame>
  /** The whole text that is still to come. */
  text(): Promise<string>
  /** Stops the generation, for all of its readers. This stream's loop ends without an error. */
  cancel(): Promise<Cancelled>
  /** Closes the connection. To iterate again goes on where it was. */
  close(): void
  /** What `resume` needs. */
  toJSON(): { id?: string; lastEventId?: string; dialect: Dialect }
}

export declare class StreamError extends Error {
  private constructor()
  /** The server's own code, or one of `connection_lost`, `not_a_stream`, `bad_payload`, `event_too_large`. */
  readonly code: string
  /** The HTTP status, where it was one that said so. */
  readonly status: number | undefined
  readonly requestId: string | undefined
  /** What the server said, read as JSON. */
  readonly body: unknown
  /** Whether the same may work later. */
  readonly temporary: boolean
  /** In milliseconds. */
  readonly retryAfter: number | undefined
}

/** Starts an answer. Resolves once the server has accepted the request. */
export declare function generate(base: string | URL, options: GenerateOptions): Promise<Stream>

/** Goes on with an answer that was started before, here or elsewhere. */
export declare function resume(base: string | URL, options: ResumeOptions): Promise<Stream>
