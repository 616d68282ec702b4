"""Two thousand streams at once, at 20 tokens a second each, and not a token lost."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from wire import Client

MANY = 2000


@pytest.fixture
def many_files():
    """As many open files as this machine allows, for the server started under it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= MANY + 500, f"this machine allows only {hard} open files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_two_thousand_streams_lose_nothing(many_files, start):
    server = start(env={"TOKENRILL_MOCK_TOKENS_PER_SECOND": "20"})
    with Client(server.port, "GET", "/stream?prompt=Hello&model=mock-fast") as client:
        *said, last = client.messages()
    assert last.done
    text = "".join(frame.data for frame in said)
    assert len(said) > 40

    command = [sys.executable, Path(__file__).with_name("swarm.py"), str(server.port), str(MANY), "/stream?prompt=Hello"]
    swarm = subprocess.run(command, stdout=subprocess.PIPE, timeout=120, check=True)
    result = json.loads(swarm.stdout)
    assert result["verdicts"] == {text: MANY}
    assert result["started"] == MANY

    _, *records = server.wait_records("generation", MANY + 1)
    assert {record["ended"] for record in records} == {"complete"}
    assert {record["tokens"] for record in records} == {len(said)}
    assert len({record["request_id"] for record in records}) == MANY
