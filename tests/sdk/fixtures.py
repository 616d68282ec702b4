"""The fixtures that the Python suites share."""

import itertools

import pytest

from fake_upstream import FakeUpstream
from harness import Server


class _Starter:
    """Starts servers, and stops them all."""

    def __init__(self, folders):
        self._folders = folders
        self._servers = []

    def __call__(self, config="", env=None, prompts=None):
        folder = next(self._folders)
        if prompts is not None:
            (folder / "prompts").mkdir()
            for name, text in prompts.items():
                (folder / "prompts" / name).write_text(text)
        server = Server(folder, config, env)
        self._servers.append(server)
        return server

    def stop(self):
        defects = []
        for server in self._servers:
            try:
                server.stop()
            except AssertionError as defect:
                defects.append(defect)
        if defects:
            raise defects[0]


def _folders(make):
    for number in itertools.count():
        yield make(f"server{number}")


@pytest.fixture
def start(tmp_path):
    """start(config, env, prompts) gives a running server of this test's own."""

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        return folder

    starter = _Starter(_folders(make))
    yield starter
    starter.stop()


@pytest.fixture(scope="session")
def mock(tmp_path_factory):
    """One server without any configuration, but for the mock's pace, shared by all tests that only talk to it."""
    starter = _Starter(_folders(tmp_path_factory.mktemp))
    yield starter(env={"TOKENRILL_MOCK_TOKENS_PER_SECOND": "0"})
    starter.stop()


@pytest.fixture
def upstream():
    """A scripted upstream of this test's own."""
    fake = FakeUpstream()
    yield fake
    fake.close()
