// A real nginx with its defaults, buffering included.
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

import { until } from "./parts.mjs"

const BINARY = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].find((path) => existsSync(path)) ?? "nginx"

const config = (folder, port, target) => `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path ${folder}/body;
    proxy_temp_path ${folder}/proxy;
    fastcgi_temp_path ${folder}/fastcgi;
    uwsgi_temp_path ${folder}/uwsgi;
    scgi_temp_path ${folder}/scgi;
    server {
        listen 127.0.0.1:${port};
        location / { proxy_pass ${target}; }
    }
}
`

/** Starts one in front of a server. */
export async function nginx(onEnd, server) {
  const folder = mkdtempSync(join(tmpdir(), "nginx-"))
  const port = await unused()
  const file = join(folder, "nginx.conf")
  const log = join(folder, "log")
  writeFileSync(file, config(folder, port, server.url))
  const child = spawn(BINARY, ["-p", folder, "-c", file, "-e", "stderr"], { stdio: ["ignore", "ignore", openSync(log, "w")] })
  const kill = () => child.kill("SIGKILL")
  process.once("exit", kill)
  const exited = new Promise((resolve) => child.once("exit", resolve))
  onEnd(async () => {
    kill()
    process.off("exit", kill)
    await exited
    rmSync(folder, { recursive: true })
  })
  await until("nginx listens", async () => {
    if (child.exitCode !== null) throw new Error(`nginx did not start: ${readFileSync(log)}`)
    return await listens(port)
  })
  return { url: `http://127.0.0.1:${port}`, port }
}

/** It can't say which free port it got, so one is picked here. */
function unused() {
  return new Promise((resolve) => {
    const listener = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = listener.address()
      listener.close(() => resolve(port))
    })
  })
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1")
    socket.once("connect", () => (socket.destroy(), resolve(true))).once("error", () => resolve(false))
  })
}
