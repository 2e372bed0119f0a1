"""A model for the programs of this directory: a server on this machine with prepared answers.

Not one of our own: it speaks a provider's API as others have understood it, so what a program does
with it is what it does with a real model, down to the bytes. Two are known, each a process that is
started on a free port and ends with the block. ``aimock`` is an npm package and is taken where
Node.js has it; ``fakellm`` comes with pip.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

LISTENS: Final = re.compile(rb"(?:listening|running) on (http://\S+)")
STARTING: Final = 30  # seconds that a server may take until it listens
BESIDE_THE_TESTS: Final = Path(__file__).parents[2] / "tests" / "components" / "servers"


class CannotRun(Exception):
    """The program needs something that is not here. The text says what, and how to get it."""


# [replies]
@dataclass(frozen=True)
class Call:
    """What a model says that wants a tool to be called."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the model says when *after* is in what it was last told, by the user or by a tool.

    Of several that fit the last one counts, so replies stand in the order of the conversation. A
    text that is in no reply gets an error: the model knows nothing but this.
    """

    after: str
    says: str | tuple[Call, ...]


# [/replies]
@dataclass(frozen=True)
class Server:
    """A program that answers as a model's provider does.

    Attributes:
        name: What it is called.
        command: What starts it on a free port, without the file that it takes its answers from.
        answers: Write that file's content.
    """

    name: str
    command: tuple[str, ...]
    answers: Callable[[Sequence[Reply]], dict[str, Any]]


def find_server(name: str | None = None) -> Server:
    """Return the server called *name*, or the first that is installed.

    Raises:
        CannotRun: it is not installed, or neither is.
    """
    for known, find in FINDERS.items():
        if name in (None, known) and (server := find()) is not None:
            return server
    raise CannotRun(
        f"There is no {name or 'server'} to play the model. Install fakellm with `pip install "
        f"fakellm`, or Node.js and aimock with `npm ci --prefix tests/components/servers`, or ask "
        f"a real model with `--model NAME`."
    )


@asynccontextmanager
async def serve(server: Server, replies: Sequence[Reply]) -> AsyncGenerator[str]:
    """Run *server* and give its address. It has ended when the block has.

    Raises:
        CannotRun: it does not start; the text has what it said.
    """
    with tempfile.TemporaryDirectory() as directory:
        answers = trio.Path(directory, "answers.json")
        await answers.write_text(json.dumps(server.answers(replies)), encoding="utf-8")
        run = partial(
            trio.run_process,
            [*server.command, str(answers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            # Ctrl-C in a terminal reaches its whole group. This one ends last, when nobody asks.
            start_new_session=True,
        )
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            said = process.stdout
            assert said is not None
            url = await _address(server, said)
            nursery.start_soon(_read_on, said)
            yield url  # noqa: ASYNC119  # a context manager
            nursery.cancel_scope.cancel("the program has ended")  # SIGTERM, and SIGKILL in the end


async def _address(server: Server, said: trio.abc.ReceiveStream) -> str:
    text = b""
    with trio.move_on_after(STARTING):
        async for piece in said:
            text += piece
            # Up to the last line break: of a line that is being written the port may be cut off.
            if found := LISTENS.search(text[: text.rfind(b"\n") + 1]):
                return found[1].decode()
    raise CannotRun(f"{server.name} does not start: {text.decode(errors='replace').strip()}")


async def _read_on(said: trio.abc.ReceiveStream) -> None:
    """Read what the server tells of each request: a full pipe would stop it."""
    async for _ in said:
        pass


def _aimock() -> Server | None:
    node = shutil.which("node")
    named = os.environ.get("TRIO_AGENTS_TEST_SERVERS")
    where = Path(named) if named else BESIDE_THE_TESTS
    script = where / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    if node is None or not script.exists():
        return None
    return Server("aimock", (node, str(script), "--port", "0", "--strict", "-f"), _fixtures)


def _fixtures(replies: Sequence[Reply]) -> dict[str, Any]:
    """Write what aimock calls fixtures. The first that fits counts."""
    fixtures: list[dict[str, Any]] = []
    for reply in reversed(replies):
        response = (
            {"content": reply.says}
            if isinstance(reply.says, str)
            else {"toolCalls": [vars(call) for call in reply.says]}
        )
        fixtures.extend(
            {"match": {where: reply.after}, "response": response}
            for where in ("toolResultContains", "userMessage")
        )
    return {"fixtures": fixtures}


def _fakellm() -> Server | None:
    if importlib.util.find_spec("fakellm") is None:
        return None
    start = "from fakellm.cli import main; main()"
    command = (sys.executable, "-c", start, "serve", "--port", "0", "--config")
    return Server("fakellm", command, _rules)


def _rules(replies: Sequence[Reply]) -> dict[str, Any]:
    """Write what fakellm calls rules. The first that fits counts; JSON is YAML as well."""
    rules: list[dict[str, Any]] = [
        {
            "name": reply.after,
            "when": {"messages_contain": reply.after},
            "respond": {"content": reply.says}
            if isinstance(reply.says, str)
            else {"tool_calls": [vars(call) for call in reply.says]},
        }
        for reply in reversed(replies)
    ]
    unknown = {"status": 404, "error": "no reply is prepared for this"}
    return {"version": 1, "rules": [*rules, {"name": "unknown", "respond": unknown}]}


FINDERS: Final[dict[str, Callable[[], Server | None]]] = {"aimock": _aimock, "fakellm": _fakellm}
