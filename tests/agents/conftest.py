"""Runs the agents side by side, as many at a time as the machine has cores, and writes docs/clients.md of what they did."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "sdk"))

# A proxy of this machine must not stand between the clients and the server.
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)

import report  # noqa: E402
import trials  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", help="write docs/clients.md")


@pytest.fixture(scope="session")
def outcomes(request, tmp_path_factory):
    """The outcome of each trial that was selected, as a future."""
    pool = ThreadPoolExecutor(max(2, os.cpu_count() or 2))
    wanted = [item.callspec.params["trial"] for item in request.session.items if hasattr(item, "callspec")]
    started = {trial: pool.submit(trials.run, trial, tmp_path_factory.mktemp("agent")) for trial in wanted}
    yield started
    pool.shutdown(cancel_futures=True)


def pytest_runtest_makereport(item, call):
    if call.when == "call" and hasattr(item, "callspec"):
        trial = item.callspec.params["trial"]
        report.note(trial, None if call.excinfo else item.funcargs["outcomes"][trial].result())


def pytest_sessionfinish(session):
    if session.config.getoption("--update") and not session.config.getoption("--collect-only"):
        report.write()
