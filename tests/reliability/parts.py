"""The real parts: replicas of the server under test, a Redis, an HAProxy. Each is a process that its owner stops."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 30.0


def binary():
    """The server under test: TOKENRILL_BIN, or the newest that was built here."""
    if named := os.environ.get("TOKENRILL_BIN"):
        return Path(named).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    built = [path for path in (target / "release/tokenrill", target / "debug/tokenrill") if path.exists()]
    assert built, "no binary: build one, or name one in TOKENRILL_BIN"
    return max(built, key=lambda path: path.stat().st_mtime)


def program(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")
    assert found, f"{name} is not installed; tests/run does it"
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return unused.getsockname()[1]


class Process:
    """A process with its log in a file. Stopped twice is stopped once."""

    def __init__(self, command, folder, name, env=None, ready=None, host="127.0.0.1"):
        self.log_file = Path(folder) / f"{name}.log"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready and not self._listens(ready, host):
            self.stop()
            raise AssertionError(f"{name} did not start: {self.log()[-2000:]}")

    def _listens(self, port, host):
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection((host, port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.01)
        return False

    def log(self):
        return self.log_file.read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def runs(self):
        return self.process.poll() is None

    def memory(self):
        """Its resident memory in MB, or nothing if it is gone."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
        except (OSError, TypeError):
            return None

    def stop(self):
        if self.runs():
            self.process.kill()
        self.process.wait(DEADLINE)


def clean_environment(**more):
    """The environment without what would be the server's configuration, TOKENRILL_BIN included."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TOKENRILL_")} | more


def redis(folder, port):
    command = [program("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Process([*command, "--dir", folder], folder, "redis", ready=port)


def replica(folder, name, port, config, wait=True, prefix=(), host="127.0.0.1"):
    """A server; its log goes on where the one before it under this name left off."""
    file = Path(folder) / f"{name}.toml"
    file.write_text(f'listen = "{host}:{port}"\n{config}')
    command = [*prefix, binary(), "--config", file]
    return Process(command, folder, name, clean_environment(TOKENRILL_LOG_FORMAT="json"), ready=port if wait else None, host=host)


HAPROXY = """
global
    maxconn 2000
defaults
    mode http
    option http-no-delay
    option abortonclose
    option redispatch
    retries 3
    timeout connect 2s
    timeout client 120s
    timeout server 120s
    timeout tunnel 120s
frontend edge
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET /readyz
    http-response set-header x-replica %s
    default-server inter 200ms fall 2 rise 1
{servers}
"""


def haproxy(folder, port, servers):
    """Balances over the servers, a name and a port each, and tells in `x-replica` which one has answered."""
    lines = "\n".join(f"    server {name} 127.0.0.1:{at} check" for name, at in servers.items())
    file = Path(folder) / "haproxy.cfg"
    file.write_text(HAPROXY.format(port=port, servers=lines))
    return Process([program("haproxy"), "-db", "-f", file], folder, "haproxy", ready=port)


def resume(process):
    process.signal(signal.SIGCONT)
