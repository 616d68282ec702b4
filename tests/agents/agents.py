"""The agents: how each is started on a task, with its own defaults, in front of a server."""

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from model import FILE, TASK

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("AGENTS_TOOLS") or ROOT / "tests/.tools/agents")
BIN = TOOLS / "node_modules/.bin"
KEY = "sk-made-up-key-of-no-one"
TIMEOUT = 100


@dataclass(frozen=True)
class Run:
    """The end of a run."""

    code: int
    output: str
    seconds: float


def claude(url, model, home, folder):
    environment = {
        "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1", "IS_SANDBOX": "1",
    }
    return [BIN / "claude", "-p", TASK, "--model", model, "--dangerously-skip-permissions"], environment


def codex(url, model, home, folder, more=""):
    config = home / ".codex/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f'model_provider = "rill"\n[model_providers.rill]\nname = "rill"\nbase_url = "{url}/v1"\n'
        f'wire_api = "responses"\nenv_key = "RILL_KEY"\n{more}'
    )
    command = [BIN / "codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return [*command, "-m", model, TASK], {"RILL_KEY": KEY}


def codex_socket(url, model, home, folder):
    return codex(url, model, home, folder, "supports_websockets = true\n")


def gemini(url, model, home, folder):
    settings = home / ".gemini/settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"security": {"auth": {"selectedType": "gemini-api-key"}},
                                    "privacy": {"usageStatisticsEnabled": False}}))
    environment = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": url, "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    return [BIN / "gemini", "-m", model, "--yolo", "-p", TASK], environment


def qwen(url, model, home, folder):
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{url}/v1"}
    return [BIN / "qwen", "--auth-type", "openai", "-m", model, "--yolo", "-p", TASK], environment


def opencode(url, model, home, folder):
    config = home / ".config/opencode/opencode.json"
    config.parent.mkdir(parents=True)
    provider = {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": f"{url}/v1", "apiKey": KEY},
                "models": {model: {"name": model}}}
    config.write_text(json.dumps({"provider": {"rill": provider}, "autoupdate": False, "permission": "allow"}))
    environment = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    return [BIN / "opencode", "run", "-m", f"rill/{model}", TASK], environment


def aider(url, model, home, folder):
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_API_BASE": f"{url}/v1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    program = os.environ.get("AIDER_BIN") or TOOLS / "aider/bin/aider"
    command = [program, "--no-git", "--yes-always", "--no-check-update", "--analytics-disable"]
    command += ["--no-show-model-warnings", "--edit-format", "diff"]
    return [*command, "--model", f"openai/{model}", "--message", TASK, FILE], environment


def cline(url, model, home, folder):
    settings = home / ".cline/data/settings/providers.json"
    settings.parent.mkdir(parents=True)
    provider = {"provider": "openai-compatible", "apiKey": KEY, "model": model, "baseUrl": f"{url}/v1"}
    saved = {"settings": provider, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}
    settings.write_text(json.dumps({"version": 1, "providers": {"openai-compatible": saved}}))
    # Without a hub, which would outlive the task.
    environment = {"CLINE_SESSION_BACKEND_MODE": "local", "CLINE_NO_AUTO_UPDATE": "1"}
    return [BIN / "cline", "-P", "openai-compatible", "-m", model, TASK], environment


def copilot(url, model, home, folder):
    environment = {
        "COPILOT_OFFLINE": "true", "COPILOT_PROVIDER_BASE_URL": f"{url}/v1", "COPILOT_PROVIDER_API_KEY": KEY,
        "COPILOT_MODEL": model, "COPILOT_CACHE_HOME": str(TOOLS / "cache"),
    }
    return [BIN / "copilot", "--yolo", "-p", TASK], environment


def copilot_anthropic(url, model, home, folder):
    command, environment = copilot(url, model, home, folder)
    return command, environment | {"COPILOT_PROVIDER_TYPE": "anthropic", "COPILOT_PROVIDER_BASE_URL": url}


def copilot_socket(url, model, home, folder):
    command, environment = copilot(url, model, home, folder)
    wire = {"COPILOT_PROVIDER_WIRE_API": "responses", "COPILOT_PROVIDER_TRANSPORT": "websockets"}
    return command, environment | wire


AGENTS = {"Claude Code": claude, "Codex": codex, "Gemini CLI": gemini, "Qwen Code": qwen, "opencode": opencode,
          "aider": aider, "Cline": cline, "Copilot CLI": copilot, "Copilot CLI (Anthropic)": copilot_anthropic,
          "Codex (WebSocket)": codex_socket, "Copilot CLI (WebSocket)": copilot_socket}


def start(agent, url, model, home, folder):
    """Starts an agent on the task; its home is a folder of its own."""
    home.mkdir(parents=True)
    command, environment = AGENTS[agent](url, model, home, folder)
    base = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "TERM": "xterm", "LANG": "C.UTF-8", "NO_COLOR": "1"}
    return subprocess.Popen(
        [str(word) for word in command], cwd=folder, env=base | environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )


def end(process):
    """Kills an agent with whatever it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run(agent, url, model, home, folder, timeout=TIMEOUT):
    started = time.monotonic()
    process = start(agent, url, model, home, folder)
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end(process)
        output, _ = process.communicate()
    finally:
        end(process)
    return Run(process.returncode, output.decode(errors="replace"), time.monotonic() - started)
