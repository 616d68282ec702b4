"""The rows of the fault matrix that need real parts: network namespaces, nginx, HAProxy, a memory cgroup, signals.

Each is a coroutine of the row's name. One that can't run here raises `Skipped` with the reason."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import parts
from upstream import Upstream
from wire import Broken, FrameParser, request

sys.path.insert(0, str(parts.ROOT / "tests/proxies"))
from reverse_proxy import ReverseProxy  # noqa: E402

HERE = Path(__file__).resolve().parent
PATIENCE = 40.0
CONFIG = """
{top}
[providers.up]
dialect = "openai-chat"
base_url = "http://{upstream}/v1"
[[models]]
name = "*"
targets = [{{ provider = "up" }}]
{more}
"""

# A client in a process of its own: it asks for a stream and writes down all that it gets.
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as server, open(sys.argv[4], "wb", buffering=0) as out:
    body = sys.argv[3].encode()
    head = "POST /v1/chat/completions HTTP/1.1\\r\\nhost: 127.0.0.1\\r\\nconnection: close\\r\\ncontent-type: application/json\\r\\n"
    server.sendall(head.encode() + b"content-length: %d\\r\\n\\r\\n" % len(body) + body)
    while piece := server.recv(65536):
        out.write(piece)
"""


class Skipped(Exception):
    """Why a row can't be tried here."""


async def until(what, holds):
    """Waits until that holds, and returns what it gave."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {what}"
        await asyncio.sleep(0.02)
    return found


class Place:
    """A folder and the processes of one row, all of which end with it."""

    numbers = itertools.count(1)

    def __init__(self, folder):
        self.folder = Path(folder)
        self._ends = []

    def end(self, action):
        self._ends.append(action)

    def close(self):
        with contextlib.ExitStack() as stack:
            for action in self._ends:
                stack.callback(action)

    def server(self, upstream, *, name="server", top="", more="", host="127.0.0.1", prefix=(), port=None):
        """Starts a server in front of an upstream, an address, and returns it with its port."""
        port = port or parts.free_port()
        config = CONFIG.format(upstream=upstream, top=top, more=more)
        process = parts.replica(self.folder, name, port, config, prefix=prefix, host=host)
        self.end(process.stop)
        return process, port

    def client(self, host, port, plan, prefix=()):
        """Starts a client; what it gets is in the file that is returned with it."""
        out = self.folder / f"client{next(self.numbers)}"
        out.touch()
        command = [*prefix, sys.executable, "-c", CLIENT, host, port, json.dumps(body_of(plan)), out]
        process = parts.Process(command, self.folder, out.name)
        self.end(process.stop)
        return process, out


class Namespace:
    """A network of its own behind a pair of virtual interfaces. It needs root."""

    numbers = itertools.count(1)

    def __init__(self, place):
        number = next(self.numbers)
        self.name = f"rill{os.getpid()}x{number}"
        self.link = f"rl{os.getpid() % 100000}x{number}"
        network = f"10.{128 + os.getpid() % 100}.{number}"
        self.here, self.there, self.nobody = (f"{network}.{last}" for last in (1, 2, 3))
        if os.geteuid() != 0:
            raise Skipped("network namespaces need root")
        if not self._ip("netns", "add", self.name):
            raise Skipped("there are no network namespaces here")
        place.end(lambda: self._ip("netns", "del", self.name))
        self.inside = [parts.program("ip"), "netns", "exec", self.name]
        done = self._ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        done = done and self._ip("addr", "add", f"{self.here}/24", "dev", self.link)
        done = done and self._ip("link", "set", self.link, "up")
        for command in (["addr", "add", f"{self.there}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            done = done and self._ip("-n", self.name, *command)
        if not done:
            raise Skipped("there are no virtual interfaces here")

    def _ip(self, *arguments):
        command = [parts.program("ip"), *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def lose(self, address):
        """From now on packets to that address vanish, without a word."""
        nowhere = ["lladdr", "02:00:00:00:be:ef", "nud", "permanent"]
        assert self._ip("neigh", "replace", address, *nowhere, "dev", self.link)

    def vanish(self):
        """From now on no packet passes, in either direction."""
        self.lose(self.there)
        nowhere = ["lladdr", "02:00:00:00:be:ef", "nud", "permanent"]
        assert self._ip("-n", self.name, "neigh", "replace", self.here, *nowhere, "dev", "eth0")


def plan_of(tokens, pace, nonce=None):
    return {"nonce": nonce or f"f{next(Place.numbers)}", "tokens": tokens, "pace": pace, "fault": "none", "at": 0}


def body_of(plan):
    return {"model": "m", "stream": True, "messages": [{"role": "user", "content": json.dumps(plan)}]}


async def ask(port, plan, host="127.0.0.1"):
    return await request(port, "POST", "/v1/chat/completions", {}, body_of(plan), host=host)


class Answer:
    """The part of an answer that has come."""

    def __init__(self, plan):
        self.plan = plan
        self.text = ""
        self.done = False
        self.error = None

    def hear(self, frames):
        for frame in frames:
            if frame.data == "[DONE]":
                self.done = True
                continue
            said = json.loads(frame.data)
            if "error" in said:
                self.error = said["error"]["code"]
            for choice in said.get("choices", ()):
                self.text += choice["delta"].get("content") or ""

    def check_whole(self):
        assert self.text == "".join(f"{self.plan['nonce']}:{n} " for n in range(self.plan["tokens"])), self.text[-200:]
        assert self.done and self.error is None, (self.done, self.error)


async def read(response, plan, tokens=None):
    """Reads an answer to its end, or so many tokens of it."""
    answer, parser = Answer(plan), FrameParser()
    async with asyncio.timeout(PATIENCE):
        try:
            async for piece in response.pieces():
                answer.hear(parser.feed(piece))
                if tokens and answer.text.count(" ") >= tokens:
                    return answer
        except Broken:
            # After an error the body has no proper end; without one nothing else says that it isn't whole.
            if answer.error is None:
                raise
    return answer


async def ended(server, *expected):
    """Waits for the log's lines of that many generations, and checks how they ended."""

    def lines():
        told = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
        ends = [line["ended"] for line in told if line.get("message") == "generation"]
        return ends if len(ends) >= len(expected) else None

    ends = await until("the log's lines of all generations", lines)
    assert sorted(ends) == sorted(expected), ends


# ---- clients ----


async def client_vanishes(place):
    upstream, net = await Upstream().start(), Namespace(place)
    server, port = place.server(f"127.0.0.1:{upstream.port}", host=net.here)
    _, out = place.client(net.here, port, plan_of(2000, 0.05), prefix=net.inside)
    await until("the first token", lambda: b":0 " in out.read_bytes())
    net.vanish()
    await until("the upstream is left", lambda: not upstream.running)
    await ended(server, "client_left")


async def client_stands_still(place):
    upstream, plan = await Upstream().start(), plan_of(30_000, 0)
    server, port = place.server(f"127.0.0.1:{upstream.port}")
    client, out = place.client("127.0.0.1", port, plan)
    await until("the first token", lambda: b":0 " in out.read_bytes())
    client.signal(signal.SIGSTOP)
    await asyncio.sleep(5)
    assert upstream.running, "it was read on for a client that stood still"
    client.signal(signal.SIGCONT)
    await until("the client has read all", lambda: not client.runs())
    answer = Answer(plan)
    reader = asyncio.StreamReader(limit=1 << 24)
    reader.feed_data(out.read_bytes())
    await reader.readuntil(b"\r\n\r\n")
    parser = FrameParser()
    while size := int(await reader.readline(), 16):
        answer.hear(parser.feed(await reader.readexactly(size)))
        await reader.readline()
    answer.check_whole()
    await ended(server, "complete")


async def client_behind_nginx_leaves(place):
    upstream, plan = await Upstream().start(), plan_of(2000, 0.05)
    server, port = place.server(f"127.0.0.1:{upstream.port}")
    nginx = ReverseProxy("nginx", place.folder, port)
    place.end(nginx.stop)
    response = await ask(nginx.port, plan)
    await read(response, plan, tokens=3)
    response.drop()
    await until("the upstream is left", lambda: not upstream.running)
    await ended(server, "client_left")


async def nginx_dies(place):
    upstream, plan = await Upstream().start(), plan_of(2000, 0.05)
    server, port = place.server(f"127.0.0.1:{upstream.port}")
    nginx = ReverseProxy("nginx", place.folder, port)
    place.end(nginx.stop)
    response = await ask(nginx.port, plan)
    await read(response, plan, tokens=3)
    nginx.stop()
    try:
        answer = await read(response, plan)
        raise AssertionError(f"the answer ended properly: {answer.text[-100:]}")
    except Broken:
        pass
    await until("the upstream is left", lambda: not upstream.running)
    await ended(server, "client_left")


# ---- upstreams ----


async def connection_attempts_vanish(place):
    net = Namespace(place)
    net.lose(net.nobody)
    server, port = place.server(f"{net.nobody}:9", more='[timeouts]\nconnect = "1s"')
    response = await ask(port, plan_of(1, 0))
    assert (response.status, await response.error_code()) == (504, "connect_timeout")
    await ended(server, "connect_timeout")


async def upstream_vanishes(place):
    net, plan = Namespace(place), plan_of(2000, 0.05)
    process = parts.Process([*net.inside, sys.executable, HERE / "upstream.py", net.there], place.folder, "upstream")
    place.end(process.stop)
    at = await until("the upstream's port", lambda: process.log().strip())
    server, port = place.server(f"{net.there}:{at}", more='[timeouts]\nbetween_tokens = "2s"')
    response = await ask(port, plan)
    await read(response, plan, tokens=3)
    net.vanish()
    answer = await read(response, plan)
    assert (answer.error, answer.done) == ("between_tokens_timeout", False), (answer.error, answer.done)
    await ended(server, "between_tokens_timeout")


# ---- the process ----


async def terminated_with_many_streams(place):
    upstream = await Upstream().start()
    server, port = place.server(f"127.0.0.1:{upstream.port}", top='drain = "60s"')
    plans = [plan_of(20, 0.2) for _ in range(300)]
    responses = await asyncio.gather(*(ask(port, plan) for plan in plans))
    assert len(upstream.running) == 300, "all run"
    server.signal(signal.SIGTERM)
    for answer in await asyncio.gather(*(read(response, plan) for response, plan in zip(responses, plans))):
        answer.check_whole()
    await until("the server ends", lambda: not server.runs())
    assert server.process.returncode == 0
    await ended(server, *["complete"] * 300)


async def replicas_are_replaced(place):
    upstream = await Upstream().start()
    ports = {name: parts.free_port() for name in ("one", "two")}
    servers = {}

    def start(name):
        servers[name], _ = place.server(
            f"127.0.0.1:{upstream.port}", name=name, port=ports[name], top='drain_delay = "2s"\ndrain = "30s"'
        )

    for name in ports:
        start(name)
    edge = parts.free_port()
    place.end(parts.haproxy(place.folder, edge, ports).stop)
    asked, stop = [], asyncio.Event()

    async def load():
        while not stop.is_set():
            plan = plan_of(10, 0.02)
            response = await ask(edge, plan)
            assert response.status == 200, (response.status, await response.error_code())
            (await read(response, plan)).check_whole()
            asked.append(response.headers["x-replica"])

    async def replace():
        for name in ["one", "two", "one", "two", "one"]:
            servers[name].signal(signal.SIGTERM)
            await until("it ends", lambda: not servers[name].runs())
            assert servers[name].process.returncode == 0
            del asked[:]
            start(name)
            await until("it is asked again", lambda: name in asked)
        stop.set()

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(load())
        group.create_task(replace())
    assert {len(calls) for calls in upstream.calls.values()} == {1}, "a request came twice"


async def killed_and_started(place):
    upstream, plan = await Upstream().start(), plan_of(2000, 0.05)
    server, port = place.server(f"127.0.0.1:{upstream.port}")
    response = await ask(port, plan)
    await read(response, plan, tokens=3)
    server.stop()
    try:
        await read(response, plan)
        raise AssertionError("the answer ended properly")
    except Broken:
        pass
    await until("the upstream is left", lambda: not upstream.running)
    place.server(f"127.0.0.1:{upstream.port}", port=port)
    assert (await request(port, "GET", "/readyz")).status == 200
    plan = plan_of(3, 0)
    (await read(await ask(port, plan), plan)).check_whole()


async def memory_is_short(place):
    group = _memory_group(place, 128 << 20)
    upstream, plan = await Upstream().start(), plan_of(200, 0.05)
    into = ["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"]
    server, port = place.server(f"127.0.0.1:{upstream.port}", prefix=into)
    running = asyncio.create_task(read(await ask(port, plan), plan))
    large = b"x" * ((4 << 20) - 1)

    async def almost():
        """Sends all of a body but its last byte, and returns the status, if there is one already."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place.end(lambda: writer.transport.is_closing() or writer.transport.abort())
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(large) + 1}\r\n\r\n".encode() + large)
        status = await reader.readline()
        rest = await reader.readuntil(b"}}") if status else b""
        return status.split()[1:2], b"memory_capacity" in rest

    bodies = [asyncio.create_task(almost()) for _ in range(64)]
    refused, _ = await asyncio.wait(bodies, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    assert [body.result() for body in refused][:1] == [([b"503"], True)], refused
    (await running).check_whole()
    assert server.runs(), "it was killed"
    for body in bodies:
        body.cancel()


def _memory_group(place, limit):
    """Makes a memory cgroup and returns its folder."""
    for parent, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(parent) / f"tokenrill{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        place.end(group.rmdir)
        try:
            (group / file).write_text(str(limit))
            return group
        except OSError:
            continue
    raise Skipped("a memory cgroup can't be made here")
