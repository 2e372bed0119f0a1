"""Probes: agents that a test looks through, and speaks through.

A probe stands for all agents of one type. What they get is kept in order, the test asks for one
message after the other, and says how they are answered. It is not an agent itself: it belongs to
the test, and outlives the agents that the runtime makes and lets go of.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, Unpack, final, overload

import anyio
import anyio.lowlevel
import attrs

from .._agents._base_agent import BaseAgent, make_subscriptions, register_type
from .._core._ledger import DeadLetter
from .._core._runtime import Runtime
from .._sansio._identifiers import AgentId, AgentType
from .._sansio._subscriptions import TypePrefixSubscription
from ._scripted import Act, Call, Script, as_act
from ._waiting import Gate, wait_all_tasks_blocked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._sansio._abc import AgentRuntime, Subscription
    from .._sansio._cancellation import CancellationToken
    from .._sansio._contexts import MessageContext
    from .._sansio._identifiers import TopicId
    from .._sansio._options import AgentOptions

__all__ = ["Probe", "ProbeFailed", "Received"]

T = TypeVar("T")
MessageT = TypeVar("MessageT")

WITHIN: Final = 5.0  # seconds of the event loop's clock
SHOWN: Final = 5  # messages in an error's text


class ProbeFailed(AssertionError):
    """A probe got something else than was expected, or nothing, or something unexpected."""


@final
@attrs.define(eq=False)
class Received(Generic[T]):
    """A message that a probe has got.

    Attributes:
        message: The message.
        ctx: Its context: who sent it, where it was published, its token.
        recipient: The agent of the probe's type that got it.
        was_cancelled: Whether its handling was cancelled: its sender gave up.
    """

    message: T
    ctx: MessageContext
    recipient: AgentId
    was_cancelled: bool = attrs.field(default=False, init=False)
    _script: Script | None = attrs.field(repr=False)  # None: it waits for `reply`
    _answer: Act | None = attrs.field(default=None, init=False, repr=False)
    _answered: Gate = attrs.field(factory=Gate, init=False, repr=False)
    _ended: Gate = attrs.field(factory=Gate, init=False, repr=False)

    def has_ended(self) -> bool:
        """Whether it has been answered, has failed or was cancelled."""
        return self._ended.is_open()

    async def wait_ended(self) -> None:
        """Wait until it has been answered, has failed or was cancelled."""
        await self._ended.wait()

    def reply(self, answer: object = None) -> None:
        """Answer a message that waits for its answer, see `Probe.hold`.

        Args:
            answer: As for `Probe.answer_with`.

        Raises:
            RuntimeError: it does not wait for one, or not any more.
        """
        if self._script is not None or self._answer is not None or self.has_ended():
            state = "was cancelled" if self.was_cancelled else "has been answered already"
            raise RuntimeError(
                f"{_shown(self)} {state}: call hold() before it comes, and reply() once"
            )
        self._answer = as_act(answer)
        self._answered.open()

    async def _handle(self, call: Call) -> Any:
        try:
            if self._script is not None:
                return await self._script.next().do(call)
            await self._answered.wait()
            assert self._answer is not None
            return await self._answer.do(call)
        except anyio.get_cancelled_exc_class():
            self.was_cancelled = True
            raise
        finally:
            self._ended.open()


@final
class Probe:
    """Stands in for agents, and tells the test what they get.

    ::

        model = await Probe.register(runtime, "model")
        model.answer_with(Answer("because"))
        await runtime.publish_message(Ask("why?"), DefaultTopicId())
        assert await model.expect(Prompt) == Prompt("why?")
        await model.expect_none()

    Made by `register`. It works on both event loops, and through a portal. A request is answered
    with None, until `answer_with` or `hold` say something else.

    Attributes:
        id: The agent that `send_message` and `publish_message` speak as, and a name to reach the
            probe by. Messages to agents of other keys come here too.
    """

    def __init__(self, runtime: AgentRuntime, id: AgentId) -> None:
        self.id = id
        self._runtime = runtime
        self._script: Script | None = Script()
        self._lock = threading.Lock()  # behind a portal, handlers run in another thread
        self._inbox: deque[Received[Any]] = deque()
        self._received: list[Received[Any]] = []
        self._last: Received[Any] | None = None
        self._arrival = Gate()

    def __repr__(self) -> str:
        return f"<Probe {self.id}, {len(self._received)} received, {len(self._inbox)} not expected>"

    @classmethod
    async def register(
        cls,
        runtime: AgentRuntime,
        type: str,
        *,
        key: str = "default",
        skip_direct_message_subscription: bool = False,
        subscriptions: Callable[[], list[Subscription] | Awaitable[list[Subscription]]]
        | None = None,
        **options: Unpack[AgentOptions],
    ) -> Probe:
        """Have a probe be all agents of *type*.

        Args:
            runtime: Where the probe's agents will live. It may be running.
            type: The agent type; in one runtime it can be registered once.
            key: Of the agent that the probe speaks as.
            skip_direct_message_subscription: Leave out the topic types that start with ``<type>:``.
            subscriptions: Called once, now; returns a list of subscriptions, or an awaitable of
                one. A `DefaultSubscription` made in it is for *type*.
            options: The limits that these agents live under, see `AgentOptions`.

        Raises:
            ValueError: *type* is not valid or is registered already, or a subscription exists.
        """
        agent_type = AgentType(type)
        probe = cls(runtime, AgentId(agent_type, key))
        makers = [] if subscriptions is None else [subscriptions]
        made = await make_subscriptions(makers, agent_type)
        if not skip_direct_message_subscription:
            made.append(TypePrefixSubscription(f"{type}:", type))
        await register_type(
            runtime,
            agent_type,
            lambda: _ProbeAgent(probe),
            expected_class=_ProbeAgent,
            subscriptions=made,
            handled=[],
            options=options,
        )
        return probe

    # --- what came

    @property
    def received(self) -> tuple[Received[Any], ...]:
        """All messages that came so far, expected or not."""
        return tuple(self._received)

    @property
    def last(self) -> Received[Any]:
        """The message that was expected last, with its context.

        Raises:
            LookupError: none was.
        """
        if self._last is None:
            raise LookupError(f"{self!r} has expected nothing yet: await expect() first")
        return self._last

    @overload
    async def expect(
        self, *, where: Callable[[Any], bool] = ..., within: float = ..., skip_others: bool = ...
    ) -> Any: ...

    @overload
    async def expect(
        self,
        message_type: type[MessageT],
        *,
        where: Callable[[MessageT], bool] = ...,
        within: float = ...,
        skip_others: bool = ...,
    ) -> MessageT: ...

    async def expect(
        self,
        message_type: type[Any] = object,
        *,
        where: Callable[[Any], bool] | None = None,
        within: float = WITHIN,
        skip_others: bool = False,
    ) -> Any:
        """Give the next message, which must be of *message_type*; wait for it.

        Messages come in the order in which their handlers began, and each is given once. The
        message that was given is in `last`, with its context. Cancelled, it has given none.

        Args:
            message_type: A class; subclasses fit too.
            where: Must be true of the message.
            within: After so many seconds, by the event loop's clock, it is too late. With a clock
                that jumps it takes no time to find out. `math.inf` waits for ever.
            skip_others: Pass over messages that do not fit, instead of failing.

        Raises:
            ProbeFailed: the next message does not fit, or none came in time.
            TypeError: *message_type* is no class.
        """
        _check_class(message_type)
        await anyio.lowlevel.checkpoint()
        expected = _Expected(message_type, where, skip_others)
        with anyio.move_on_after(None if within == math.inf else within):
            while True:
                arrival = self._arrival  # before the look: the next one opens this gate
                if self._look(expected):
                    return self.last.message
                await arrival.wait()
        if self._look(expected):  # it came in the very moment
            return self.last.message
        others = f", only {expected.skipped} others" if expected.skipped else ""
        raise ProbeFailed(
            f"{self.id.type} expected {expected}, and none came within {within:g} s"
            f"{others}{self._hint()}"
        )

    def _look(self, expected: _Expected) -> bool:
        """Take the expected message out of the inbox, if it is there.

        Raises:
            ProbeFailed: there is another one.
        """
        while self._inbox:
            received = self._inbox[0]
            if expected.fits(received.message):
                self._last = self._inbox.popleft()
                return True
            if not expected.skip_others:
                raise ProbeFailed(f"{self.id.type} expected {expected}, and got {_shown(received)}")
            self._inbox.popleft()
            expected.skipped += 1
        return False

    async def expect_none(
        self, message_type: type[Any] = object, *, within: float | None = None
    ) -> None:
        """Fail if a message has come that was not expected, or comes now.

        Args:
            message_type: Only messages of this class count.
            within: Wait so many seconds, by the event loop's clock. Left out, wait until all tasks
                of this event loop wait: nothing can come any more before the clock goes on. Behind
                a portal agents run on another event loop, so there give a time.

        Raises:
            ProbeFailed: one came.
            TypeError: *message_type* is no class.
        """
        _check_class(message_type)
        if within is None:
            await wait_all_tasks_blocked()
        else:
            await anyio.lowlevel.checkpoint()
            with anyio.move_on_after(within):
                while True:
                    arrival = self._arrival
                    if self._unexpected(message_type):
                        break
                    await arrival.wait()
        unexpected = self._unexpected(message_type)
        if unexpected:
            shown = [_shown(received) for received in unexpected[:SHOWN]]
            if len(unexpected) > SHOWN:
                shown.append(f"and {len(unexpected) - SHOWN} more")
            raise ProbeFailed(
                f"{self.id.type} expected no message of type {_name(message_type)}, and got\n  "
                + "\n  ".join(shown)
            )

    def _unexpected(self, message_type: type[Any]) -> list[Received[Any]]:
        return [one for one in tuple(self._inbox) if isinstance(one.message, message_type)]

    def _hint(self) -> str:
        hints: list[str] = []
        if self._received:
            came = ", ".join(one.message.__class__.__qualname__ for one in self._received[-SHOWN:])
            hints.append(f"so far it got {len(self._received)}, lastly {came}")
        if isinstance(self._runtime, Runtime):  # the protocol has no statistics
            letters = self._runtime.statistics().dead_letters[-SHOWN:]
            hints += [f"undeliverable: {_dead(letter)}" for letter in letters]
        return "".join(f"\n  {hint}" for hint in hints)

    # --- how it is answered

    def answer_with(self, *answers: object) -> None:
        """Answer messages that come from now on.

        Each of *answers* serves for one message, the last one for all that follow. An answer is a
        value to return; an exception, or a class of exceptions, to raise; a function, async or not,
        which is called with the message and its context, and whose result is the answer; or an
        `Act`, such as ``sleeps(60)``.
        """
        self._script = Script(*answers)

    def hold(self) -> None:
        """Have messages that come from now on wait for `reply`.

        For tests of what happens meanwhile::

            model.hold()
            ...
            await model.expect(Prompt)
            model.reply(Answer("at last"))
        """
        self._script = None

    def reply(self, answer: object = None) -> None:
        """Answer the message that was expected last and waits, see `hold`.

        Args:
            answer: As for `answer_with`.

        Raises:
            LookupError: none was expected.
            RuntimeError: it does not wait for an answer, or not any more.
        """
        self.last.reply(answer)

    # --- speaking

    def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Send *message* as the probe; await the reply. As `BaseAgent.send_message`.

        What the recipient sends to its sender in turn can be expected here.
        """
        return self._runtime.send_message(
            message,
            recipient,
            sender=self.id,
            cancellation_token=cancellation_token,
            message_id=message_id,
        )

    def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Publish *message* as the probe, which does not hear it itself. To be awaited."""
        return self._runtime.publish_message(
            message,
            topic_id,
            sender=self.id,
            cancellation_token=cancellation_token,
            message_id=message_id,
        )

    # --- its agents

    async def _handle(self, agent: BaseAgent, message: Any, ctx: MessageContext) -> Any:
        received = Received(message, ctx, agent.id, self._script)
        with self._lock:
            self._inbox.append(received)
            self._received.append(received)
            arrival, self._arrival = self._arrival, Gate()
        arrival.open()
        return await received._handle(Call(message, ctx, agent.runtime, agent.id))


def _check_class(message_type: Any) -> None:
    try:
        isinstance(None, message_type)
    except TypeError:
        raise TypeError(
            f"a probe expects a class of messages, not {message_type!r}: for one that is equal to "
            "that write where=lambda message: message == ..."
        ) from None


@attrs.define
class _Expected:
    message_type: type[Any]
    where: Callable[[Any], bool] | None
    skip_others: bool
    skipped: int = 0

    def fits(self, message: object) -> bool:
        return isinstance(message, self.message_type) and (
            self.where is None or self.where(message)
        )

    def __str__(self) -> str:
        text = f"a message of type {_name(self.message_type)}"
        if self.where is not None:
            text += f" of which {getattr(self.where, '__name__', self.where)} is true"
        return text


class _ProbeAgent(BaseAgent):
    def __init__(self, probe: Probe) -> None:
        super().__init__("tells a test what it gets")
        self._probe = probe

    def on_message_impl(self, message: Any, ctx: MessageContext) -> Coroutine[Any, Any, Any]:
        return self._probe._handle(self, message, ctx)

    async def save_state(self) -> Mapping[str, Any]:
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        pass


def _name(cls: object) -> str:
    return getattr(cls, "__qualname__", str(cls))


def _shown(received: Received[Any]) -> str:
    ctx = received.ctx
    how = "directly" if ctx.topic_id is None else f"on topic {ctx.topic_id}"
    sender = "" if ctx.sender is None else f" from {ctx.sender}"
    return f"{received.message!r:.500}{sender} {how}"


def _dead(letter: DeadLetter) -> str:
    where = letter.topic if letter.recipient is None else letter.recipient
    return f"{letter.message.__class__.__qualname__} for {where}: {letter.reason}"
