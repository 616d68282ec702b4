// Runs the protocol's own conformance suite against the real binary: `node tests/durable/conformance.mjs [vitest options]`.
//
// TOKENRILL_BIN names the binary, TOKENRILL_STREAMS_STORE the store that the streams are kept in (`redis://…`); without, it
// is the server's memory. The suite's packages lie outside of the sources, and so does the file that starts it.
import { spawn } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

import { start } from "../sdk/harness.mjs"

const TOOLS = fileURLToPath(new URL("../.tools/durable", import.meta.url))

const SUITE = `import { runConformanceTests } from "@durable-streams/server-conformance-tests"
runConformanceTests({ baseUrl: process.env.URL_UNDER_TEST, longPollTimeoutMs: 500 })
`
const CONFIG = `export default { test: { include: ["suite/*.test.mjs"], testTimeout: 60_000, watch: false } }
`

const ends = []
const store = process.env.TOKENRILL_STREAMS_STORE
const server = await start((end) => ends.push(end), "", {
  TOKENRILL_STREAMS_LONG_POLL: "500ms",
  ...(store ? { TOKENRILL_STREAMS_STORE: store } : {}),
})
mkdirSync(join(TOOLS, "suite"), { recursive: true })
writeFileSync(join(TOOLS, "suite/conformance.test.mjs"), SUITE)
writeFileSync(join(TOOLS, "vitest.config.mjs"), CONFIG)
const vitest = spawn(process.execPath, [join(TOOLS, "node_modules/vitest/vitest.mjs"), "run", ...process.argv.slice(2)], {
  cwd: TOOLS,
  env: { ...process.env, URL_UNDER_TEST: server.url },
  stdio: "inherit",
})
const code = await new Promise((resolve) => vitest.once("exit", (code) => resolve(code ?? 1)))
for (const end of ends) await end()
process.exit(code)
