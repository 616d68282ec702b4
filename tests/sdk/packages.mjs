// The npm packages that the Node suites speak with. They are installed outside of the sources, where an import by name
// would not find them.
import { createRequire } from "node:module"

const require = createRequire(new URL("../.tools/node/package.json", import.meta.url))

export const { default: OpenAI } = require("openai")
export const { createParser } = require("eventsource-parser")
export const { EventSource } = require("eventsource")
export const { chromium } = require("playwright-core")
export const { WebSocket } = require("ws")
