"""The trials of each agent: its task in front of every dialect, and an answer that fails, breaks off, or is no longer
wanted.
"""

import time
from dataclasses import dataclass, field

import agents
from fake_dialects import DIALECTS, Upstreams, dialect_of, frame
from harness import Server
from model import BEFORE, FILE, PROOF, Model
from speakers import Answer, Text, payloads

KINDS = ["task", "error", "cut", "cancel"]
# An agent may try again for minutes: what it does within this many seconds is what is looked at.
FAULT_SECONDS = 25
WORDS = "The upstream is out of order, 4711."


@dataclass(frozen=True)
class Trial:
    kind: str
    agent: str
    dialect: str

    def __str__(self):
        return f"{self.kind}-{self.agent.replace(' ', '')}-{self.dialect}"


@dataclass
class Outcome:
    steps: list = field(default_factory=list)
    thoughts: int = 0
    problems: list = field(default_factory=list)
    output: str = ""
    code: int | None = None
    file: str = ""
    proof: str = ""
    requests: int = 0
    generations: list = field(default_factory=list)
    routes: set = field(default_factory=set)
    warnings: list = field(default_factory=list)
    refused: list = field(default_factory=list)


def all_trials():
    """Every agent on its task before every dialect; the faults before one dialect each, in turn."""
    trials = [Trial("task", agent, dialect) for agent in agents.AGENTS for dialect in DIALECTS]
    for at, agent in enumerate(agents.AGENTS):
        trials += [Trial(kind, agent, DIALECTS[(at + n) % 4]) for n, kind in enumerate(KINDS[1:])]
    return trials


def run(trial, folder):
    """Runs one trial with a server and an upstream of its own."""
    work = folder / "work"
    work.mkdir()
    (work / FILE).write_text(BEFORE + "\n")
    (folder / "server").mkdir()
    upstream = Upstreams()
    keys = {f"KEY_OF_{dialect.upper()}": f"made-up-key-for-{dialect}" for dialect in DIALECTS}
    server = Server(folder / "server", upstream.config(), keys)
    try:
        return play(trial, folder, work, upstream, server)
    finally:
        server.stop()
        upstream.close()


def play(trial, folder, work, upstream, server):
    model = Model(work)
    script = {"task": model, "error": fail, "cut": cut, "cancel": hang}[trial.kind]
    upstream.answer(*[script] * 100)
    name = f"via-{trial.dialect}"
    if trial.kind == "cancel":
        ended = leave(trial, name, folder, work, upstream, server)
    else:
        timeout = agents.TIMEOUT if trial.kind == "task" else FAULT_SECONDS
        ended = agents.run(trial.agent, server.url, name, folder / "home", work, timeout)
    proof = work / PROOF
    generations = server.records("generation")
    return Outcome(
        steps=model.steps,
        thoughts=len(model.returned),
        problems=model.problems,
        output=ended.output,
        code=ended.code,
        file=(work / FILE).read_text().strip(),
        proof=proof.read_text().strip() if proof.exists() else "",
        requests=len(upstream.seen),
        generations=[record.get("ended") for record in generations],
        routes={record.get("route") for record in generations},
        warnings=[line for line in server.log.splitlines() if '"level":"WARN"' in line],
        refused=[record for record in generations if 400 <= int(record.get("status") or 0) < 500],
    )


def leave(trial, name, folder, work, upstream, server):
    """Interrupts an agent in the middle of an answer, and waits until the server has noticed."""
    process = agents.start(trial.agent, server.url, name, folder / "home", work)
    until = time.monotonic() + agents.TIMEOUT
    while not upstream.seen and time.monotonic() < until:
        time.sleep(0.05)
    agents.end(process)
    output, _ = process.communicate()
    until = time.monotonic() + FAULT_SECONDS
    while not server.records("generation") and time.monotonic() < until:
        time.sleep(0.05)
    return agents.Run(process.returncode, output.decode(errors="replace"), 0)


def fail(exchange):
    """An error that no second try mends."""
    exchange.reply(400, {"error": {"type": "invalid_request_error", "message": WORDS, "code": 400, "status": "INVALID_ARGUMENT"}})


def begin(exchange):
    """Begins a stream, also where a whole answer was asked for."""
    said = Answer((Text("The river "),))
    exchange.start()
    for payload in list(payloads(dialect_of(exchange), said))[:-3]:
        exchange.piece(frame(dialect_of(exchange), payload))


def cut(exchange):
    begin(exchange)
    exchange.cut()


def hang(exchange):
    begin(exchange)
    exchange.wait_gone(agents.TIMEOUT)
