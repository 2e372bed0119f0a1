"""Cancelled clients: the connection is closed at once, and the client can be used on."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from trio_agents import CancellationToken
from trio_agents.models import ChatCompletionClient, CreateResult, UserMessage

from .conftest import PROVIDERS, ModelServer, Provider

NEVER = 30_000  # milliseconds; no test waits for it


def user(text: str) -> UserMessage:
    return UserMessage(content=text, source="bob")


async def is_usable(client: ChatCompletionClient) -> bool:
    return (await client.create([user("Are you there?")])).content == "Yes."


async def _create(client: ChatCompletionClient, text: str, token: CancellationToken | None) -> None:
    await client.create([user(text)], cancellation_token=token)


async def _stream(client: ChatCompletionClient, text: str, token: CancellationToken | None) -> None:
    stream = client.create_stream([user(text)], cancellation_token=token)
    async with aclosing(stream):
        async for _ in stream:
            pass


WAYS = pytest.mark.parametrize("ask_it", [_create, _stream])


async def asked(aimock: ModelServer, text: str) -> None:
    """Wait until the server has a connection: for it to hear of the request, others may wait."""
    while aimock.established() == 0:  # noqa: ASYNC110  # the kernel has no event for it
        await anyio.sleep(0.005)


def slow(aimock: ModelServer, text: str) -> None:
    aimock.answers(
        text, {"content": "Some words, and more."}, chunkSize=5, chaos={"latencyMs": NEVER}
    )


@WAYS
async def test_a_cancelled_scope_closes_the_connection_at_once(
    aimock: ModelServer, provider: Provider, ask: str, ask_it: Any
) -> None:
    slow(aimock, ask)
    client = provider(aimock.url)
    async with anyio.create_task_group() as group:
        group.start_soon(ask_it, client, ask, None)
        await asked(aimock, ask)
        group.cancel_scope.cancel()
    assert aimock.established() == 0
    assert await is_usable(client)
    await client.close()
    assert aimock.established() == 0


@WAYS
async def test_a_cancelled_token_closes_the_connection_at_once(
    aimock: ModelServer,
    provider: Provider,
    ask: str,
    ask_it: Any,
    MessageCancelled: type[BaseException],
) -> None:
    slow(aimock, ask)
    client = provider(aimock.url)
    token = CancellationToken()

    async def cancel() -> None:
        await asked(aimock, ask)
        token.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        with pytest.raises(MessageCancelled, match=f"{provider.client} to {provider.model}"):
            await ask_it(client, ask, token)
        assert aimock.established() == 0
    assert await is_usable(client)
    with pytest.raises(MessageCancelled, match="before it began"):
        await ask_it(client, ask, token)
    await client.close()


async def test_a_token_cancels_in_the_middle_of_a_stream(
    aimock: ModelServer, provider: Provider, ask: str, MessageCancelled: type[BaseException]
) -> None:
    aimock.answers(ask, {"content": "Some words, and more."}, chunkSize=5, latency=50)
    client = provider(aimock.url)
    token = CancellationToken()
    pieces: list[str | CreateResult] = []
    async with aclosing(client.create_stream([user(ask)], cancellation_token=token)) as stream:
        with pytest.raises(MessageCancelled):
            async for piece in stream:
                pieces.append(piece)
                token.cancel()
    assert pieces == ["Some "]
    assert aimock.established() == 0
    assert await is_usable(client)
    await client.close()


async def test_leaving_a_stream_early_closes_its_connection(
    aimock: ModelServer, provider: Provider, ask: str
) -> None:
    aimock.answers(ask, {"content": "Some words, and more. " * 9}, chunkSize=5, latency=20)
    client = provider(aimock.url)
    async with aclosing(client.create_stream([user(ask)])) as stream:
        async for piece in stream:
            assert piece == "Some "
            break
        assert aimock.established() == 1
    assert aimock.established() == 0
    assert await is_usable(client)
    await client.close()


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_token_cancels_the_wait_before_another_try(
    aimock: ModelServer, name: str, ask: str, MessageCancelled: type[BaseException]
) -> None:
    error = {"message": "slow down", "type": "rate"}
    aimock.answers(ask, {"error": error, "status": 429, "retryAfter": 50})
    client = PROVIDERS[name](aimock.url, max_retries=2)
    token = CancellationToken()

    async def cancel() -> None:
        while not aimock.requests(ask):  # noqa: ASYNC110  # nor has the server
            await anyio.sleep(0.005)
        await anyio.wait_all_tasks_blocked()  # the answer has come, and the SDK sleeps
        token.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        with pytest.raises(MessageCancelled):
            await client.create([user(ask)], cancellation_token=token)
    assert len(aimock.requests(ask)) == 1
    assert await is_usable(client)
    await client.close()


WORKERS = 20


# MC-13. Their number may be in the environment: TRIO_AGENTS_CANCELS=1000.
async def test_cancels_at_any_moment_leave_no_connection_and_the_client_usable(
    aimock: ModelServer, provider: Provider, ask: str, cancels: int
) -> None:
    aimock.answers(ask, {"content": "Some words, and more."}, chunkSize=5, latency=1)
    pool = 8 if provider.name != "ollama" else 21  # without a limit: see the client
    options = provider.small_pool(pool)
    client = provider(aimock.url, **options)
    chance = random.Random(provider.name)
    cancelled = most = 0

    # As long as requests take here and now, so that some are cancelled at each moment.
    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(WORKERS):
            group.start_soon(_stream, client, ask, None)
    takes = anyio.current_time() - begin

    async def often(times: int) -> None:
        nonlocal cancelled, most
        for number in range(times):
            way = chance.choice([_create, _stream])
            with anyio.move_on_after(chance.uniform(0, 1.5 * takes)) as scope:
                await way(client, ask, None)
            cancelled += scope.cancelled_caught
            if number % 10 == 0:  # counting takes longer than asking
                most = max(most, aimock.established())

    async with anyio.create_task_group() as group:
        for _ in range(WORKERS):
            group.start_soon(often, cancels // WORKERS)
    assert cancelled > 0
    assert most <= pool
    assert await is_usable(client)
    await client.close()
    if "http_client" in options:
        await options["http_client"].aclose()
    assert aimock.established() == 0
    print(f"{provider.name}: {cancelled} of {cancels} were cancelled, {most} connections at most")
