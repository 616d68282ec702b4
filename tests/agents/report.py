"""Writes the table of docs/clients.md: what was tried, as it went the last time."""

import json
from pathlib import Path

import agents
from fake_dialects import CONFIG_NAME, DIALECTS

PAGE = Path(__file__).resolve().parents[2] / "docs/clients.md"
PACKAGES = {"Claude Code": "@anthropic-ai/claude-code", "Codex": "@openai/codex", "Gemini CLI": "@google/gemini-cli",
            "Qwen Code": "@qwen-code/qwen-code", "opencode": "opencode-ai", "Cline": "@cline/cli-linux-x64",
            "Copilot CLI": "@github/copilot"}
SPEAKS = {"Claude Code": "anthropic", "Codex": "openai-responses", "Codex (WebSocket)": "openai-responses",
          "Gemini CLI": "gemini", "Copilot CLI (Anthropic)": "anthropic", "Copilot CLI (WebSocket)": "openai-responses"}
BEGIN, END = "<!-- agents -->", "<!-- end -->"

_went = {}
_returned = set()


def note(trial, outcome):
    """Notes a trial that went well, with its outcome, or one that failed."""
    _went[trial.agent, trial.dialect, trial.kind] = outcome is not None
    if outcome and outcome.thoughts:
        _returned.add((trial.agent, trial.dialect))


def cell(agent, dialect, kind):
    return {True: "✓", False: "✗", None: ""}[_went.get((agent, dialect, kind))]


def version(agent):
    if agent == "aider":
        return (Path(__file__).parent / "requirements.txt").read_text().split("==")[1].split()[0]
    package = json.loads((Path(__file__).parent / "package.json").read_text())
    name = PACKAGES[agent.split(" (")[0]]
    return (package["dependencies"] | package["optionalDependencies"])[name]


def table():
    lines = ["| agent | version | speaks | provider | stream | tools | reasoning | error | cut | cancel |", "| --- " * 10 + "|"]
    for agent in agents.AGENTS:
        for dialect in DIALECTS:
            task = cell(agent, dialect, "task")
            tools = "" if agent == "aider" else task
            thoughts = task if (agent, dialect) in _returned else ""
            faults = [cell(agent, dialect, kind) for kind in ("error", "cut", "cancel")]
            cells = [agent, version(agent), SPEAKS.get(agent, "openai-chat"), CONFIG_NAME[dialect], task, tools, thoughts, *faults]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write():
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")
