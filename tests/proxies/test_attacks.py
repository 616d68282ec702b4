"""Attacks through a real nginx and a real HAProxy whose clients share connections to the server: every message of the wire
tests' table is sent, and after each one victims, who must get their own answers and nobody else's."""

import re
import socket
import threading
import tomllib
from pathlib import Path

import pytest

from reverse_proxy import SHARED, ReverseProxy

TABLE = Path(__file__).resolve().parents[1] / "wire/verdicts/requests.toml"
# How long an attack may be silent. It is no promise of anybody's: an attack that waits for more is given up.
PATIENCE = 0.2


def attacks():
    """Every message of the table, with its name."""
    for section, cases in tomllib.loads(TABLE.read_text()).items():
        for name, case in cases.items():
            text = re.sub("⟪(.*?)×(\\d+)⟫", lambda found: found[1] * int(found[2]), case["send"], flags=re.DOTALL)
            yield f"{section}: {name}", text.encode("latin-1")


def request(nonce):
    return f"GET /{nonce} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n".encode()


def exchange(port, data, patience):
    """All that comes for these bytes, until the other side closes or has been silent for so long."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as client:
        try:
            client.sendall(data)
            while piece := client.recv(65536):
                received += piece
        except OSError:
            pass
    return received


class Relay:
    """A way to the server that counts connections, and the requests on them."""

    def __init__(self, target):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                end.close()

    def close(self):
        self._listener.close()


@pytest.mark.parametrize("kind", SHARED)
def test_a_victim_gets_its_own_answer(mock, tmp_path, kind):
    relay = Relay(mock.port)
    proxy = ReverseProxy(kind, tmp_path, relay.port)
    victims, harmed = 0, []
    try:
        for number, (name, attack) in enumerate(attacks()):
            # The last request on the attacker's own connection is one more that may be misled, and ends it.
            exchange(proxy.port, attack + request(f"attacker-{number}"), PATIENCE)
            for nonce in (f"victim-{number}-a", f"victim-{number}-b"):
                victims += 1
                answer = exchange(proxy.port, request(nonce), 20)
                own = answer.startswith(b"HTTP/1.1 404 ") and answer.count(b"HTTP/1.1 ") == 1
                if not own or re.findall(rb"nothing at /([\w-]+)", answer) != [nonce.encode()]:
                    harmed.append((name, answer))
    finally:
        proxy.stop()
        relay.close()
    assert not harmed
    assert victims > 600
    # Otherwise no victim met what an attack left behind.
    assert relay.connections < victims / 2, f"{relay.connections} connections for {victims} victims: they are not shared"
