"""Which model a program of this directory asks, and how it runs and ends.

Without arguments it is a server on this machine with prepared answers, see ``_server``. ``--model
NAME`` asks a real one instead: the name says whose it is, and the environment has the key.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

import trio
from _server import FINDERS, CannotRun, Reply, find_server, serve

from trio_agents import ROOT_LOGGER_NAME
from trio_agents.ext.models.anthropic import AnthropicChatCompletionClient
from trio_agents.ext.models.ollama import OllamaChatCompletionClient
from trio_agents.ext.models.openai import OpenAIChatCompletionClient
from trio_agents.models import ChatCompletionClient

CLOSING: Final = 5  # seconds, for saying goodbye to a server


# [providers]
@dataclass(frozen=True)
class Provider:
    """Where models live whose names begin with one of *names*, and what asking them takes."""

    names: tuple[str, ...]
    key: str | None  # the variable of the environment
    client: Callable[[str], ChatCompletionClient]


def openai(model: str) -> ChatCompletionClient:
    return OpenAIChatCompletionClient(model=model)


def anthropic(model: str) -> ChatCompletionClient:
    return AnthropicChatCompletionClient(model=model)


def ollama(model: str) -> ChatCompletionClient:
    """Make a client for a model on this machine: ``ollama/qwen3:8b``, or ``ollama`` for one."""
    return OllamaChatCompletionClient(model=model.partition("/")[2] or "qwen3")


PROVIDERS: Final = (
    Provider(("gpt-", "o1", "o3", "o4"), "OPENAI_API_KEY", openai),
    Provider(("claude-",), "ANTHROPIC_API_KEY", anthropic),
    Provider(("gemini-",), "GEMINI_API_KEY", openai),  # they have OpenAI's API as well
    Provider(("ollama",), None, ollama),
)
# [/providers]


@dataclass(frozen=True)
class Model:
    """The model that a program asks.

    Attributes:
        name: What to call it in a transcript.
        is_prepared: Whether its answers stand in this repository. Otherwise they come from
            somewhere else, and who runs code in them had better use a sandbox.
        make_client: Make a client for it.
    """

    name: str
    is_prepared: bool
    make_client: Callable[[], ChatCompletionClient]

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[ChatCompletionClient]:
        """Make a client, and close it after the block.

        Raises:
            CannotRun: its SDK is not installed, or does not know the model.
        """
        try:
            client = self.make_client()
        except (ImportError, ValueError) as error:
            raise CannotRun(str(error)) from error
        try:
            yield client
        finally:
            with trio.move_on_after(CLOSING, shield=True):
                await client.close()


Program = Callable[[Model], Awaitable[None]]


def run(program: Program, replies: Sequence[Reply]) -> None:
    """Run *program* with the model that the command line names, and end this process.

    The exit code is 0; 2 with a sentence if something is not there, 1 with one if the model cannot
    be asked; and after Ctrl-C 130, when the program has cleaned up and its processes have ended.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--model", metavar="NAME", help="ask a real model, such as gpt-5-mini or ollama/qwen3"
    )
    which.add_argument("--server", choices=FINDERS, help="who plays the model if none is asked")
    given = parser.parse_args()
    said = ""
    code = 0
    # What fails is said below, in a sentence. Without a handler it would be logged as well.
    logging.getLogger(ROOT_LOGGER_NAME).addHandler(logging.NullHandler())
    try:
        if given.model is None:
            code = trio.run(_until_a_signal, _with_server(program, given.server, replies))
        else:
            code = trio.run(_until_a_signal, _with_hosted(program, given.model))
    except* CannotRun as missing:
        code, said = 2, "\n".join(map(str, _each(missing)))
    except* Exception as raised:
        failures = _each(raised)
        if not all(map(_source, failures)):
            raise
        code, said = 1, "\n".join(f"{failure} ({_source(failure)})" for failure in failures)
    if said:
        print(said, file=sys.stderr)
    sys.exit(code)


def _with_server(
    program: Program, which: str | None, replies: Sequence[Reply]
) -> Callable[[], Awaitable[None]]:
    server = find_server(which)

    async def run() -> None:
        async with serve(server, replies) as url:

            def make_client() -> ChatCompletionClient:
                return OpenAIChatCompletionClient(
                    model="gpt-4o",  # whose abilities are assumed
                    base_url=f"{url}/v1",
                    api_key="not needed",
                )

            await program(
                Model(f"prepared answers, from {server.name} at {url}", True, make_client)
            )

    return run


def _with_hosted(program: Program, name: str) -> Callable[[], Awaitable[None]]:
    provider = next((it for it in PROVIDERS if name.startswith(it.names)), None)
    if provider is None:
        known = ", ".join(prefix for it in PROVIDERS for prefix in it.names)
        raise CannotRun(f"Whose model is {name!r}? Names that are known begin with {known}.")
    if provider.key is not None and not os.environ.get(provider.key):
        raise CannotRun(
            f"Asking {name} takes a key: put it into the environment as {provider.key}."
        )

    def make_client() -> ChatCompletionClient:
        return provider.client(name)

    async def run() -> None:
        await program(Model(name, False, make_client))

    return run


async def _until_a_signal(main: Callable[[], Awaitable[None]]) -> int:
    """Run *main*, and cancel it on Ctrl-C or SIGTERM. Return an exit code.

    As a `KeyboardInterrupt` it would be raised wherever the program happens to be, in the middle of
    a cleanup too. A cancellation comes where somebody waits.
    """
    code = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                nonlocal code
                code = 128 + await anext(signals)
                nursery.cancel_scope.cancel("a signal")

            nursery.start_soon(watch)
            await main()
            nursery.cancel_scope.cancel("the program has ended")
    if code:
        print("\nstopped; all that was started has ended", file=sys.stderr)
    return code


def _source(error: Exception) -> str | None:
    """Return the note that a model's client leaves on whatever it raises, if *error* has one."""
    notes: list[str] = getattr(error, "__notes__", [])
    return next((note for note in notes if note.startswith("in a request of ")), None)


def _each(group: ExceptionGroup[Exception]) -> list[Exception]:
    leaves: list[Exception] = []
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            leaves += _each(cast("ExceptionGroup[Exception]", error))
        else:
            leaves.append(error)
    return leaves
