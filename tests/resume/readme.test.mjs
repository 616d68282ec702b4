// What the client's README shows, run as it stands there.
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { test } from "node:test"
import { promisify } from "node:util"

import { shared } from "../sdk/harness.mjs"

const CLIENT = fileURLToPath(new URL("../../clients/js/", import.meta.url))
const server = shared({ TOKENRILL_MOCK_TOKENS_PER_SECOND: "400" })
const examples = [...readFileSync(`${CLIENT}README.md`, "utf8").matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code)

/** What an example prints, run beside the package, so that it is found by its name. */
async function run(code) {
  assert.ok(code.includes("http://127.0.0.1:8080"))
  const adapted = code.replaceAll("http://127.0.0.1:8080", server.url)
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", adapted], { cwd: CLIENT, timeout: 30_000 })
  return stdout
}

test("the README's examples", { timeout: 60_000 }, async () => {
  const [first, chat, reload, cancel, ...more] = examples
  assert.deepEqual(more, [])
  const text = await run(first)
  assert.match(text, /^You said “Hello”\. A rill .* waits for you\.$/s)
  assert.match(await run(chat), /^stm_\S+ message \{.*"delta".*message \[DONE\]\n$/s)
  assert.equal(await run(reload), `${text.replace(/^You/, "")}\n`)
  // What was on its way is heard out.
  assert.match(await run(cancel), /^You\ncancelled\n/)
})
