"""A client that leaves takes the upstream's request with it, in every phase."""

import asyncio

import openai
import pytest

from harness import in_front_of

MESSAGES = [{"role": "user", "content": "Say something long."}]


def client_of(server):
    return openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=60)


def left(server):
    """The generation's line in the log says that the client left."""
    record = server.generation()
    assert record["ended"] == "client_left"
    return record


async def off(blocking, *args):
    """A step of the upstream's, which blocks, beside the client's."""
    return await asyncio.get_running_loop().run_in_executor(None, blocking, *args)


def test_a_stream_that_is_closed_mid_answer(start, upstream):
    server = start(in_front_of(upstream.base_url))

    async def talk():
        async with client_of(server) as client:
            asked = asyncio.create_task(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
            exchange = await off(upstream.next)
            exchange.start()
            exchange.say("one")
            stream = await asked
            first = await anext(aiter(stream))
            assert first.choices[0].delta.content == "one"
            await stream.close()
            await off(exchange.wait_gone)

    asyncio.run(talk())
    assert left(server)["tokens"] == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["before the head", "before the first token", "in the body"])
def test_a_call_that_is_cancelled_while_it_waits(start, upstream, phase, stream):
    server = start(in_front_of(upstream.base_url))

    async def talk():
        async with client_of(server) as client:

            async def ask():
                answer = await client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
                if stream:
                    async for _ in answer:
                        pass

            asked = asyncio.create_task(ask())
            exchange = await off(upstream.next)
            if phase != "before the head":
                if stream:
                    exchange.start()
                else:
                    exchange.head(200, [("content-type", "application/json"), ("content-length", 1000)])
                if phase == "in the body":
                    exchange.say("one") if stream else exchange.send('{"id":')
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            await off(exchange.wait_gone)

    asyncio.run(talk())
    left(server)


def test_one_of_many_leaves_and_the_others_go_on(start, upstream):
    server = start(in_front_of(upstream.base_url))

    async def talk():
        async with client_of(server) as client:
            asked, exchanges = [], []
            for _ in range(8):
                create = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
                asked.append(asyncio.create_task(create))
                exchange = await off(upstream.next)
                exchange.start()
                exchange.say("one")
                exchanges.append(exchange)
            streams = await asyncio.gather(*asked)
            await streams[3].close()
            await off(exchanges[3].wait_gone)
            for exchange in exchanges[:3] + exchanges[4:]:
                exchange.say(" two")
                exchange.finish()
            for stream in streams[:3] + streams[4:]:
                said = [chunk.choices[0].delta.content or "" async for chunk in stream]
                assert "".join(said) == "one two"

    asyncio.run(talk())
    ended = sorted(record["ended"] for record in server.wait_records("generation", 8))
    assert ended == ["client_left"] + ["complete"] * 7
