"""Starts the real binary as a user does: in a folder of its own, with a config file, reading what it prints."""

import atexit
import json
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("TOKENRILL_BIN") or ROOT / "target/release/tokenrill").resolve()
DEADLINE = 30.0

MOCKS = [
    "mock",
    "mock-fast",
    "mock-echo",
    "mock-error",
    "mock-ratelimit",
    "mock-break",
    "mock-stall",
    "mock-tool",
    "mock-parallel",
    "mock-think",
    "mock-refusal",
    "mock-length",
    "mock-filter",
]


def in_front_of(base_url, *, provider="", models='[[models]]\nname = "*"\ntargets = [{ provider = "up" }]', top=""):
    """A config that sends every model, under its own name, to one OpenAI-compatible upstream."""
    return f'{top}\n[providers.up]\ndialect = "openai-chat"\nbase_url = "{base_url}"\n{provider}\n{models}\n'


class Server:
    """A running tokenrill. `stop` ends it and fails if it died before, or panicked."""

    def __init__(self, folder, config="", env=None):
        self.folder = Path(folder)
        assert BINARY.exists(), f"{BINARY} is missing: build it, or name one in TOKENRILL_BIN"
        if not (self.folder / "prompts").exists():
            shutil.copytree(ROOT / "prompts", self.folder / "prompts")
        if config:
            (self.folder / "tokenrill.toml").write_text(config)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TOKENRILL_")}
        # A proxy in the environment is none of its business: if it listened to these, nothing would get through.
        environment |= {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1", "NO_PROXY": ""}
        environment |= {"TOKENRILL_LOG_FORMAT": "json"} | (env or {})
        self.process = subprocess.Popen(
            [BINARY, "--listen", "127.0.0.1:0"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        atexit.register(self.process.kill)  # should this process end before its tests do
        self._lines = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        first = self._first_line()
        found = re.search(r"listens on http://127\.0\.0\.1:(\d+)$", first)
        if not found:
            self.kill()
            raise AssertionError(f"it did not start; stdout: {first!r}, stderr: {self.log!r}")
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def _first_line(self):
        # Both lines are read, so that the pipe stays empty; a server that prints neither in time is killed.
        timer = threading.Timer(DEADLINE, self.process.kill)
        timer.start()
        first = self.process.stdout.readline().decode().rstrip("\n")
        self.process.stdout.readline()
        timer.cancel()
        return first

    def _read_log(self):
        for line in self.process.stderr:
            self._lines.append(line.decode(errors="replace"))

    @property
    def log(self):
        return "".join(self._lines)

    def records(self, message):
        """The log's lines of that message, as dictionaries."""
        records = []
        for line in list(self._lines):
            if line.startswith("{"):
                record = json.loads(line)
                record |= record.pop("fields", {})
                if record.get("message") == message:
                    records.append(record)
        return records

    def wait_records(self, message, count, deadline=DEADLINE):
        """Waits until there are that many such lines; more than that is a failure, too."""
        until = time.monotonic() + deadline
        while len(records := self.records(message)) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(records) == count, f"{len(records)} lines of `{message}` instead of {count}: {self.log}"
        return records

    def wait_line(self, text, deadline=DEADLINE):
        """Waits until the log holds that text."""
        until = time.monotonic() + deadline
        while text not in self.log:
            assert time.monotonic() < until, f"no {text!r} in the log: {self.log}"
            time.sleep(0.01)

    def generation(self):
        """The one generation's line in the log."""
        return self.wait_records("generation", 1)[0]

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        self.process.stdout.close()
        atexit.unregister(self.process.kill)

    def stop(self):
        died = self.process.poll()
        self.kill()
        assert died is None, f"the server died with exit code {died}: {self.log}"
        assert "panicked" not in self.log, f"the server panicked: {self.log}"
