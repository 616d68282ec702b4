"""A server in front of an upstream that speaks all four dialects by script: one pair for all the tests of a run."""

import queue
from contextlib import contextmanager

import pytest

import wire
from conversations import endpoint, spell
from fake_dialects import Upstreams, answer
from harness import Server
from speakers import Text

CLIENT_KEY = "key-of-the-client"
CREDENTIALS = {
    "chat": [("authorization", f"Bearer {CLIENT_KEY}")],
    "responses": [("authorization", f"Bearer {CLIENT_KEY}")],
    "anthropic": [("x-api-key", CLIENT_KEY), ("anthropic-version", "2023-06-01")],
    "gemini": [("x-goog-api-key", CLIENT_KEY)],
}


class Scripted:
    def __init__(self, server, upstreams):
        self.server, self.upstreams, self.url = server, upstreams, server.url

    def send(self, client, upstream, body, *, streamed=True, headers=()):
        """Posts a body as a client of that dialect, to the model that is served in an upstream's dialect."""
        model = f"via-{upstream}"
        body = body if client == "gemini" else body | {"model": model}
        if streamed and client != "gemini":
            body |= {"stream": True}
        target = endpoint(client, model, streamed)
        headers = [*CREDENTIALS[client], *headers]
        return wire.Client(self.server.port, "POST", target, headers=headers, body=body)

    def ask(self, client, upstream, asked, **more):
        return self.send(client, upstream, spell(client, asked, f"via-{upstream}"), **more)

    @property
    def heard(self):
        """The last request that reached an upstream."""
        return self.upstreams.seen[-1]

    @contextmanager
    def unasked(self):
        """Nothing may reach the upstream, which would have an answer."""
        before = len(self.upstreams.seen)
        self.upstreams.answer(answer(Text("not to be asked for")))
        try:
            yield
        finally:
            left = self._empty()
        assert (left, len(self.upstreams.seen)) == (1, before), "the upstream was asked all the same"

    def _empty(self):
        """Takes away the scripts that nobody used and the requests that nobody answered, and counts them."""
        left = 0
        for waiting in (self.upstreams._scripts, self.upstreams._arrived):
            try:
                while waiting.get_nowait():
                    left += 1
            except queue.Empty:
                pass
        return left

    def settle(self):
        """Between tests: no script is left over, no request unanswered, nothing in a script went wrong."""
        left = self._empty()
        defects, self.upstreams.defects = self.upstreams.defects, []
        assert defects == [], f"the upstream's script went wrong: {defects!r}"
        assert left == 0, f"{left} scripts or requests were left over"


@pytest.fixture(scope="session")
def scripted_for_all(tmp_path_factory):
    upstreams = Upstreams()
    server = Server(tmp_path_factory.mktemp("scripted"), upstreams.config(), upstreams.keys())
    yield Scripted(server, upstreams)
    server.stop()
    upstreams.close()


@pytest.fixture
def scripted(scripted_for_all):
    yield scripted_for_all
    scripted_for_all.settle()
