"""What a check of the conformance suite is: a name, a promise, and a function that tries it."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, final

import anyio
import anyio.abc
import attrs

from .._loops import _asyncio
from .._sansio._abc import AgentRuntime
from .._sansio._errors import MessageCancelled
from .._sansio._identifiers import AgentId
from .._sansio._serializers import try_get_known_serializers_for_type
from ._scripted import ScriptedAgent
from ._waiting import Gate, wait_all_tasks_blocked

__all__ = [
    "MESSAGE_CANCELLED",
    "A",
    "B",
    "Calling",
    "Capability",
    "Check",
    "CheckFailed",
    "Note",
    "OpenRuntime",
    "Player",
    "check",
    "let_others_go_on",
    "note_texts",
    "require",
    "requires_error",
    "settle_in",
]

PATIENCE: Final = 20.0  # seconds, before a check that hangs has failed

# What senders get whose message was cancelled: on trio an `Exception`, on asyncio what is there.
MESSAGE_CANCELLED: Final = (MessageCancelled, _asyncio.MessageCancelled)


class CheckFailed(AssertionError):
    """A runtime does not keep what the `AgentRuntime` protocol promises. The text says what."""


class Capability(enum.Enum):
    """Something that not every runtime offers. `check_runtime` is told what one does.

    All else that the protocol has, every runtime has to do.
    """

    ACCESS = "try_get_underlying_agent_instance gives the agent"
    BY_REFERENCE = "messages, replies and errors are handed over as they are, not copied"
    CANCELLATION = "a token and a cancelled sender cancel the handler"
    INSTANCES = "register_agent_instance takes ready agents"
    INTERVENTION = "open_runtime takes intervention_handlers=[...]"
    LIMITS = "register_factory knows max_concurrency"
    STATE = "agents and the whole runtime save and load states"
    STOP = "there are start, stop and stop_when_idle"


OpenRuntime = Callable[..., AbstractAsyncContextManager[AgentRuntime]]
"""Opens a runtime: called, it gives an async context manager of one that is started.

The facades' ``open_runtime`` are such functions. Failures of publications are not to be raised (see
*ignore_unhandled_exceptions*). It is called with ``intervention_handlers=[...]`` if
`Capability.INTERVENTION` is offered and the check is about that, and else without arguments.
"""


@final
@attrs.frozen
class Check:
    """One promise that a runtime has to keep, and how to see whether it does.

    Await it in a test of your own: ``await check(open_runtime)``. Both event loops will do.

    Attributes:
        name: The name of its function.
        promise: What is promised, as a sentence.
        needs: What the runtime has to offer; without that it is not applicable.
    """

    name: str
    promise: str
    needs: frozenset[Capability]
    _run: Callable[[OpenRuntime], Awaitable[None]] = attrs.field(repr=False)

    async def __call__(self, open_runtime: OpenRuntime) -> None:
        """Try it, on a runtime of its own.

        Raises:
            CheckFailed: the promise is not kept, or it took longer than 20 seconds.
            BaseException: what the runtime raised where nothing was to be raised.
        """
        with anyio.move_on_after(PATIENCE) as scope:
            await self._run(open_runtime)
        if scope.cancelled_caught:
            raise CheckFailed(f"it has not ended after {PATIENCE:g} s: {self.promise}")


def check(*needs: Capability) -> Callable[[Callable[[OpenRuntime], Awaitable[None]]], Check]:
    """Make a check of a function, whose docstring is the promise."""

    def make(function: Callable[[OpenRuntime], Awaitable[None]]) -> Check:
        promise = (function.__doc__ or "").strip()
        return Check(function.__name__, promise, frozenset(needs), function)

    return make


def require(condition: object, text: str) -> None:
    """Fail the check unless *condition* is true.

    Raises:
        CheckFailed: it is not.
    """
    if not condition:
        raise CheckFailed(text)


@dataclass
class Caught:
    """What `requires_error` has caught."""

    error: BaseException | None = None


@contextmanager
def requires_error(*types: type[BaseException], by: str) -> Generator[Caught, None, None]:
    """Fail the check unless the block raises something that is of each of *types*.

    Raises:
        CheckFailed: it raises nothing, or something else.
    """
    expected = " and ".join(cls.__name__ for cls in types)
    caught = Caught()
    try:
        yield caught
    except CheckFailed:
        raise
    except (Exception, *MESSAGE_CANCELLED) as exc:
        missing = [cls for cls in types if not isinstance(exc, cls)]
        if missing:
            raise CheckFailed(f"{by}: expected {expected}, got {exc!r}") from exc
        caught.error = exc
        return
    raise CheckFailed(f"{by}: expected {expected}, nothing was raised")


# --- who takes part

A: Final = AgentId("conformance", "a")
B: Final = AgentId("conformance", "b")


@dataclass(frozen=True)
class Note:
    """The message and the reply of the checks. It can be written as JSON."""

    text: str


class Player(ScriptedAgent):
    """The agent of the checks."""

    internal_extra_handles_types = [(Note, try_get_known_serializers_for_type(Note))]  # noqa: RUF012


async def settle_in(
    runtime: AgentRuntime, *script: object, type: str = A.type, **options: Any
) -> None:
    """Register players that follow *script*."""
    await Player.register(runtime, type, lambda: Player(*script), **options)


def note_texts(log: list[str]) -> Callable[[Note, Any], None]:
    """Give an answer that notes the text of each message."""
    return lambda message, ctx: log.append(message.text)


async def let_others_go_on(runtime: AgentRuntime) -> None:
    """Give what was begun the time to go as far as it can, in another thread too.

    Behind a portal, or a connection, calls take their turn: when one comes back those before it
    have arrived. A check must not depend on it, except to see what should not happen.
    """
    await wait_all_tasks_blocked()
    await runtime.get(A)
    await wait_all_tasks_blocked()


class Calling:
    """A call in a task of its own, which keeps what comes of it."""

    def __init__(self, tasks: anyio.abc.TaskGroup, function: Callable[[], Awaitable[Any]]) -> None:
        self.scope = anyio.CancelScope()
        self.ended = Gate()
        self.value: Any = None
        self.error: BaseException | None = None
        tasks.start_soon(self._run, function)

    async def _run(self, function: Callable[[], Awaitable[Any]]) -> None:
        with self.scope:
            try:
                self.value = await function()
            except (Exception, *MESSAGE_CANCELLED) as exc:  # kept for whoever asks
                self.error = exc
        self.ended.open()

    async def result(self) -> Any:
        """Wait for its end, and give what it returned.

        Raises:
            BaseException: what it raised.
        """
        await self.ended.wait()
        if self.error is not None:
            raise self.error
        return self.value
