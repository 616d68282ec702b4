"""What the tests of this folder share: one upstream that replays, one server in front of it, one event loop."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "sdk"))

# A proxy of this machine must not stand between the clients and the server.
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)

import oracle  # noqa: E402
from readers import Clients  # noqa: E402
from harness import Server  # noqa: E402
from replay import CUTS, Replay  # noqa: E402

# These never send a finish reason, and are configured so.
OPTIONAL = ("snowflake",)


def config(base_url):
    """A provider per dialect, and a model per recording and way to cut it."""
    lines = []
    for dialect in oracle.DIALECTS:
        lines += [f"[providers.{dialect}]", f'dialect = "{dialect}"', f'base_url = "{base_url}"']
    lines += ["[providers.optional]", 'dialect = "openai-chat"', f'base_url = "{base_url}"']
    lines += ['finish_reason = "optional"']
    for recording in [*oracle.recordings(), *(recording for recording, _ in oracle.refusals())]:
        provider = "optional" if recording.provider in OPTIONAL else recording.dialect
        for cut in (*CUTS, "half"):
            name = f"{recording.model}~{cut}"
            lines += ["[[models]]", f'name = "{name}"', f'targets = [{{ provider = "{provider}", model = "{name}" }}]']
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def replay():
    """The upstream."""
    upstream = Replay()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def run():
    """run(coroutine): in the one event loop of all tests, as the SDKs' connections belong to it."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="session")
def direct(replay, run):
    """SDKs that speak to the upstream itself."""
    clients = Clients(replay.url)
    yield clients
    run(clients.close())


@pytest.fixture(scope="session")
def server(tmp_path_factory, replay):
    """The server, in front of the upstream."""
    running = Server(tmp_path_factory.mktemp("server"), config(replay.url))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def proxied(server, run):
    """SDKs that speak to the server."""
    clients = Clients(server.url)
    yield clients
    run(clients.close())
