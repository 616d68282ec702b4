"""A client that follows one stream to its end: it drops its connection at random, comes back by any of the ways that
there are, at any replica, and judges each token by its nonce and number."""

import asyncio
import json
import time

from upstream import ERRORS, HARMLESS
from wire import Broken, Frame, FrameParser, Socket, request

HANG = 30.0
WAYS = ("header", "query", "same request", "long-poll", "live", "websocket")
# Statuses after which a client may ask again.
PASSING = (429, 502, 503, 504)


class Over(Exception):
    """The end of a stream, as its client was told."""


class Follower:
    """One stream. `outcome` says how it ended, `defects` what broke a promise, by its kind, `story` everything in order."""

    def __init__(self, number, random, ports, world):
        self.random = random
        self.ports = ports
        self.world = world
        self.plan = self._plan(f"s{number}")
        self.keyed = random.random() < 0.5
        self.next = 0
        self.last_id = None
        self.stream = None
        self.writer = None
        self.began = self.progress = time.monotonic()
        self.returns = 0
        self.outcome = None
        self.defects = []
        self.story = []

    def _plan(self, nonce):
        random = self.random
        fault = random.choice([*ERRORS]) if random.random() < 0.3 else random.choice(["none", "none", "none", "slow"])
        tokens = random.randint(3, 200) if fault != "slow" else random.randint(3, 40)
        pace = random.choice([0.0, 0.005, 0.02, 0.05]) if fault != "slow" else random.choice([0.1, 0.2, 0.5])
        return {"nonce": nonce, "tokens": tokens, "pace": pace, "fault": fault, "at": random.randint(1, tokens - 1)}

    def tell(self, text):
        self.story.append(f"{time.monotonic() - self.world.began:8.3f}  {text}")

    def port(self):
        return self.random.choice(self.ports)

    async def follow(self):
        """Follows the stream to its end, and judges that."""
        self.tell(f"plan {json.dumps(self.plan)}{', with a key' if self.keyed else ''}")
        try:
            async with asyncio.timeout(None) as self._patience:
                self._moved()
                self.world.waiting.add(self)
                await self._to_the_end()
        except Over as end:
            self.outcome = str(end)
        except TimeoutError:
            self.outcome = "hang"
            self._defect("hang", f"no token and no end for {HANG:.0f} s")
        self.world.waiting.discard(self)
        self.tell(f"over: {self.outcome}")
        self.world.judge(self)

    def _moved(self):
        self.progress = time.monotonic()
        self._patience.reschedule(asyncio.get_running_loop().time() + HANG)

    def wait_longer(self, seconds):
        """Grants the time for which nobody could have answered."""
        self._patience.reschedule(self._patience.when() + seconds)

    async def _to_the_end(self):
        response = await self._start()
        first = True
        while True:
            try:
                if first:
                    await self._frames(response, FrameParser().feed)
                else:
                    await self._return()
            except Broken as broken:
                self.tell(f"broken: {broken}")
            first = False
            if self.world.redis_is_away():
                # It was told so, and that is an answer: it can only ask again.
                self._moved()
            await asyncio.sleep(self.random.choice([0, 0, 0.01, 0.1, 0.3, 2]))

    # ---- the beginning ----

    def _ask(self):
        content = json.dumps(self.plan)
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": content}]}
        headers = {"x-linger": "60s"}
        if self.keyed:
            headers["idempotency-key"] = self.plan["nonce"]
        return headers, body

    async def _start(self):
        attempt = 0
        while True:
            headers, body = self._ask()
            asked = time.monotonic()
            try:
                response = await request(self.ports[0], "POST", "/v1/chat/completions", headers, body)
            except Broken as broken:
                self.tell(f"start broke: {broken}")
                response = None
            if response and response.status == 200:
                self.stream = response.headers.get("x-stream-id")
                # Whoever asks again may be answered by another than the one that writes.
                if attempt == 0 or not self.keyed:
                    self.writer = response.headers.get("x-replica")
                    self.began = asked
                self.tell(f"started as {self.stream}, answered by {response.headers.get('x-replica')}")
                return response
            if response:
                code = await response.error_code()
                response.drop()
                self.tell(f"start refused: {response.status} {code}")
                if response.status not in PASSING or code in ERRORS.get(self.plan["fault"], ()):
                    raise Over(code)
                self.world.count(f"start, again after {code}")
            attempt += 1
            if not self.keyed:
                # Nobody knows whether that one is generated, so this is another.
                self.plan["nonce"] = f"{self.plan['nonce'].split('.')[0]}.{attempt}"
            if self.world.redis_is_away():
                self._moved()
            await asyncio.sleep(0.3)

    # ---- coming back ----

    async def _return(self):
        self.returns += 1
        way = self.random.choice(WAYS)
        port = self.port()
        self.tell(f"comes back by {way} at {self.world.name(port)} after {self.last_id}")
        self.world.count(f"return by {way}")
        await getattr(self, "_by_" + way.replace(" ", "_").replace("-", "_"))(port)

    async def _by_header(self, port, target=None, method="GET", body=None, after=True):
        headers = {"accept": "text/event-stream"}
        if after and self.last_id:
            headers["last-event-id"] = self.last_id
        response = await request(port, method, target or f"/v1/stream/{self.stream}", headers, body)
        await self._check_status(response)
        await self._frames(response, FrameParser().feed)

    async def _by_query(self, port):
        after = f"?last_event_id={self.last_id}" if self.last_id else ""
        await self._by_header(port, f"/v1/stream/{self.stream}{after}", after=False)

    async def _by_same_request(self, port):
        if not self.last_id:
            return await self._by_header(port)
        await self._by_header(port, "/v1/chat/completions", "POST", self._ask()[1])

    def _offset(self):
        return self.last_id.rsplit(".", 1)[1] if self.last_id else "-1"

    async def _by_long_poll(self, port):
        for _ in range(self.random.randint(1, 20)):
            response = await request(port, "GET", f"/v1/stream/{self.stream}?offset={self._offset()}&live=long-poll")
            closed = "stream-closed" in response.headers
            if response.status == 204 and not closed:
                response.drop()
                continue
            if response.status != 204:
                await self._check_status(response)
                await self._frames(response, FrameParser().feed, whole=True)
            response.drop()
            if closed:
                raise Over("closed without an end")

    async def _by_live(self, port):
        response = await request(port, "GET", f"/v1/stream/{self.stream}?offset={self._offset()}&live=sse")
        await self._check_status(response)
        outer = FrameParser()

        def feed(piece):
            frames = []
            for frame in outer.feed(piece):
                if frame.event == "data":
                    frames += FrameParser().feed(frame.data.encode() + b"\n")
                elif frame.event == "control" and json.loads(frame.data).get("streamClosed"):
                    frames.append(None)
                elif frame.event not in ("data", "control"):
                    frames.append(frame)
            return frames

        await self._frames(response, feed)

    async def _by_websocket(self, port):
        socket = await Socket.open(port)
        if not isinstance(socket, Socket):
            return await self._check_status(socket)
        try:
            attach = {"type": "attach", "id": "a", "stream": self.stream}
            socket.send(attach | ({"after": self.last_id} if self.last_id else {}))
            most = self._most()
            async for message in socket.messages():
                kind = message["type"]
                if kind == "error":
                    self._refused(message["error"]["status"], message["error"]["code"])
                    return
                if kind == "end":
                    raise Over(f"end without a frame: {message['status']}")
                if kind == "event":
                    self._hear(Frame(message.get("event_id"), message.get("event"), message["data"]))
                    most -= 1
                    if most == 0:
                        return self.tell("drops its socket")
        finally:
            socket.drop()

    async def _check_status(self, response):
        if response.status == 200:
            return
        code = "http_204" if response.status == 204 else await response.error_code()
        response.drop()
        self._refused(response.status, code)
        raise Broken(f"{response.status} {code}")

    def _refused(self, status, code):
        self.tell(f"refused: {status} {code}")
        if status not in PASSING:
            raise Over(f"refused with {status} {code}")
        self.world.count(f"return, again after {code}")

    # ---- what is heard ----

    def _most(self):
        """The number of events that this connection lives for."""
        return self.random.randint(1, 80) if self.random.random() < 0.7 else 1 << 30

    async def _frames(self, response, feed, whole=False):
        most = 1 << 30 if whole else self._most()
        try:
            async for piece in response.pieces():
                for frame in feed(piece):
                    if frame is None:
                        raise Over("closed without an end")
                    self._hear(frame)
                    most -= 1
                    if most <= 0:
                        return self.tell("drops its connection")
        finally:
            response.drop()
        if not whole:
            self.tell("the response ended")

    def _hear(self, frame):
        if frame.id:
            self.last_id = frame.id if "." in frame.id else f"{self.stream}.{frame.id}"
        if frame.data == "[DONE]":
            raise Over("done")
        said = json.loads(frame.data)
        if "error" in said:
            raise Over(said["error"].get("code") or said["error"]["type"])
        for choice in said["choices"]:
            self._token(choice["delta"].get("content") or "")

    def _token(self, text):
        if not text:
            return
        self._moved()
        nonce, _, number = text.strip().partition(":")
        if nonce != self.plan["nonce"]:
            self._defect("foreign", f"a token of another stream: {text!r}")
        elif int(number) < self.next:
            self._defect("doubled", f"token {number} came twice")
        elif int(number) > self.next:
            self._defect("lost", f"token {number} came instead of {self.next}")
            self.next = int(number) + 1
        else:
            self.next += 1

    def _defect(self, kind, text):
        self.tell(f"{kind}: {text}")
        self.defects.append((kind, text))

    def is_whole(self):
        return self.plan["fault"] in HARMLESS and self.next == self.plan["tokens"]
