"""Ids of every kind of text: taken and given back exactly, or refused; and one line in a log.

Which text an id takes is written down here a second time, in other words than the library's: a
reader of both should believe that they mean the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, Final

import trio

from ..._agents._base_agent import BaseAgent
from ..._core._state import parse_state
from ..._loops._trio_runtime import open_runtime
from ..._sansio._contexts import MessageContext
from ..._sansio._errors import InvalidIdentifier, StateError
from ..._sansio._events import DeliveryStage, MessageEvent, MessageKind
from ..._sansio._identifiers import AgentId, AgentType, TopicId
from ..._sansio._log_names import EVENT_LOGGER_NAME, ROOT_LOGGER_NAME, TRACE_LOGGER_NAME
from ..._sansio._routing import RoutingTable
from ..._sansio._subscriptions import (
    DefaultSubscription,
    DefaultTopicId,
    TypePrefixSubscription,
    TypeSubscription,
)
from ._bytes_cost import again
from ._row import Watch

__all__ = ["try_ids", "try_log_lines"]

BATCH: Final = 200  # units that one seed makes
LONG: Final = 1_000_000

# Text that has meant something to some program: lines, terminals, paths, patterns, subjects, markup
# and formats; letters that look like others; text whose reading direction changes.
PIECES: Final[tuple[str, ...]] = (
    *("\x00", "\r", "\n", "\r\n", "\t", "\x0b", "\x0c", "\x1c", "\x1b[31m", "\x7f", "\x85", "\x9b"),
    *("\u2028", "\u2029", "\u200b", "\u200e", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u00a0"),
    *("/", "//", "..", "../", ".", "*", ">", "<", "|", "?", "\\", "%2F", "%00", "~", " ", ":", "="),
    *("'", '"', "`", "$(x)", "{}", "{0}", "%s", "&amp;", "-", "--", "_", "#", ";", ","),
    *("a", "\u0430", "\u1d00", "\uff41", "K", "\u212a", "\u00c5", "\u212b", "A\u030a", "\ufb01"),
    *(
        "I",
        "\u0131",
        "\u0130",
        "\u00df",
        "\u1e9e",
        "\u01c5",
        "\u00b2",
        "\u0661",
        "\u2167",
        "\u05d0",
    ),
    *("\ud800", "\udfff", "\ue000", "\ufffd", "\uffff", "\U0001f600", "\U00020000", "\U0010ffff"),
    *("con", "nul", "default", "__class__", "None", "type", "agent"),
)
SIZES: Final = (255, 256, 257, 4095, 4096, 4097)


def is_type(text: str, further: str = "") -> bool:
    """Whether *text* may be the type of an agent; with ``:=`` more, that of a topic."""
    return 1 <= len(text) <= 256 and all(c.isalnum() or c in "_-." or c in further for c in text)


def is_key(text: str) -> bool:
    """Whether *text* may be a key or a source."""
    return len(text) <= 4096 and all(" " <= character <= "~" for character in text)


def some_text(random: Random) -> str:
    """Make text of all that there is, planes that hold no characters yet among it."""
    parts: list[str] = []
    for _ in range(random.choice((0, 1, 1, 2, 3, 6))):
        choice = random.random()
        if choice < 0.5:
            parts.append(random.choice(PIECES))
        elif choice < 0.8:
            parts.append(chr(random.randrange(0x20, 0x7F)))
        else:
            parts.append(chr(random.randrange(17) << 16 | random.randrange(0x10000)))
    text = "".join(parts)
    if random.random() < 0.01:
        size = random.choice(SIZES)
        text = (text or "a") * size
        text = text[:size]
    elif random.random() < 0.0002:
        text = (text or "a") * LONG
    return text


def a_type(random: Random) -> str:
    """Make text that is more often than not a type."""
    if random.random() < 0.4:
        return some_text(random)
    return "".join(
        random.choice("abcXYZ019_-.\u0430\u00e9\u4e2d\u05d0") for _ in range(random.randrange(1, 9))
    )


def a_key(random: Random) -> str:
    """Make text that is more often than not a key."""
    if random.random() < 0.4:
        return some_text(random)
    return "".join(random.choice("ab/.*>: ~%\\\"'{}[]-\t"[:-1]) for _ in range(random.randrange(9)))


def is_one_line(text: str) -> bool:
    """Whether a log or a terminal shows *text* as a part of one line, in the order it is in."""
    return text.isprintable() and len(text.splitlines()) <= 1


def refused(make: Callable[[], Any], expected: bool, what: str) -> tuple[Any, str | None]:
    """Call *make*, which is to raise `InvalidIdentifier` unless *expected*.

    Returns:
        What it made, if it made anything; and what is wrong with that, if anything is.
    """
    try:
        made = make()
    except InvalidIdentifier as error:
        text = str(error)
        if expected:
            return None, f"{what} is valid, and was refused: {text}"
        if not is_one_line(text) or len(text) > 1200:
            return None, f"{what} was refused in an error that is no short line: {text!r:.200}"
        return None, None
    except BaseException as exc:  # whatever it is, it is the finding
        return None, f"{what}: {type(exc).__name__} instead of an InvalidIdentifier: {exc!s:.200}"
    return made, None if expected else f"{what} is not valid, and was taken"


def look_at_pair(cls: type[Any], first: str, second: str) -> tuple[str | None, str | None]:
    """Make an id of two texts; return its text, if they are valid, and what is wrong, if so."""
    further = ":=" if cls is TopicId else ""
    what = f"{cls.__name__}({first!r:.80}, {second!r:.80})"
    id, problem = refused(
        lambda: cls(first, second), is_type(first, further) and is_key(second), what
    )
    if id is None or problem is not None:
        return None, problem
    text = str(id)
    back, problem = refused(lambda: cls.from_str(text), True, f"the text of {what}")
    if back is None or problem is not None:
        return text, problem
    if (id.type, back.type) != (first, first) or text != f"{first}/{second}" or back != id:
        return text, f"{what} comes back as {back!r:.200}"
    if hash(back) != hash(id) or {back: 0}.get(id) != 0:
        return text, f"{what} is not found under its own text"
    if not is_one_line(text) or not is_one_line(repr(id)):
        return text, f"{what} is more than one line of a log: {text!r:.200}"
    return text, None


def look_at_text(cls: type[Any], text: str) -> str | None:
    """Read an id from text that may not be one."""
    further = ":=" if cls is TopicId else ""
    first, slash, second = text.partition("/")
    expected = bool(slash) and is_type(first, further) and is_key(second)
    what = f"{cls.__name__}.from_str({text!r:.120})"
    id, problem = refused(lambda: cls.from_str(text), expected, what)
    if id is not None and problem is None and str(id) != text:
        problem = f"{what} has another text: {id!s:.120}"
    if problem is not None or cls is not AgentId:
        return problem
    # The keys of a saved state are read the same way, under another error.
    try:
        parsed = parse_state({text: {}})
    except StateError as error:
        return f"a state of {text!r:.120} was refused: {error}" if expected else None
    return None if list(parsed) == [id] else f"a state of {text!r:.120} was taken as {parsed!r:.99}"


def look_at_subscription(random: Random, topic: str, agent: str, source: str) -> str | None:
    """Make a subscription of two texts, and see where a publication of theirs goes."""
    cls: Any = random.choice((TypeSubscription, TypePrefixSubscription, DefaultSubscription))
    valid = is_type(topic, ":=") and is_type(agent)
    what = f"{cls.__name__}({topic!r:.80}, {agent!r:.80})"
    subscription, problem = refused(lambda: cls(topic, agent), valid, what)
    if subscription is None or problem is not None:
        return problem
    if subscription.agent_type != agent:
        return f"{what} is for {subscription.agent_type!r:.80}"
    if not is_one_line(repr(subscription)):
        return f"{what} is more than one line of a log: {subscription!r:.200}"
    if is_key(source):
        to = subscription.map_to_agent(TopicId(topic, source))
        if (to.type, to.key) != (agent, source):
            return f"{what} maps the source {source!r:.80} to {to!r:.200}"
        topic_id = DefaultTopicId(topic, source)
        if topic_id != TopicId(topic, source) or str(topic_id) != f"{topic}/{source}":
            return f"DefaultTopicId({topic!r:.80}, {source!r:.80}) is {topic_id!s:.200}"
    table = RoutingTable()
    table.add(subscription)
    unknown = f"{topic}{source}"
    try:
        table.remove(unknown)
    except LookupError as error:
        if not is_one_line(str(error)):
            return f"an unknown subscription {unknown!r:.80} makes more than one line of a log"
    return None


def look_at_event(payload: str, sender: AgentId | None) -> str | None:
    """Print a log event that carries any text."""
    event = MessageEvent(
        payload=payload,
        sender=sender,
        receiver=sender,
        kind=MessageKind.DIRECT,
        delivery_stage=DeliveryStage.SEND,
    )
    text = str(event)
    # JSON writes half a surrogate pair like a part of one: two halves in a row are read as a whole.
    whole = payload.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if not is_one_line(text) or json.loads(text)["payload"] != whole:
        return f"an event with the payload {payload!r:.120} prints {text!r:.200}"
    return None


def try_ids(watch: Watch) -> None:
    """Make ids, topics, types and subscriptions of any text."""
    while watch.goes_on():
        seed = watch.next_seed()
        random = Random(seed)
        where = again("ids", seed)
        texts: dict[tuple[type[Any], str], tuple[str, str]] = {}
        for _ in range(BATCH):
            cls: type[Any] = random.choice((AgentId, TopicId))
            first, second = a_type(random), a_key(random)
            text, problem = look_at_pair(cls, first, second)
            if text is None:
                watch.met("refused")
            else:
                watch.met("taken")
                if texts.setdefault((cls, text), (first, second)) != (first, second):
                    problem = f"{text!r:.120} stands for two ids"
                # Every other way to divide the same text.
                moved = f"{first}/{second}".replace("/", random.choice(("/", "", "//", ".")), 1)
                problem = problem or look_at_text(cls, moved)
            match random.randrange(4):
                case 0:
                    problem = problem or look_at_text(cls, some_text(random))
                case 1:
                    problem = problem or look_at_subscription(random, first, first, second)
                case 2:
                    problem = problem or look_at_event(second[:9999], None)
                case _:
                    agent_type, wrong = refused(
                        partial(AgentType, first), is_type(first), f"{first!r:.80}"
                    )
                    problem = problem or wrong
                    if agent_type is not None and str(agent_type) != first:
                        problem = f"AgentType({first!r:.80}) has another text"
            if problem is not None:
                watch.violation(f"{where}: {problem}")
        watch.done(BATCH)


# --- log lines


class Lines(logging.Handler):
    """Keeps what the library has logged, as the lines that a plain formatter would print."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record. The traceback is left out: its last lines are the application's."""
        self.lines.append(record.getMessage())


@contextmanager
def all_logged() -> Generator[Lines, None, None]:
    """Have everything logged, here and nowhere else."""
    lines = Lines()
    root = logging.getLogger(ROOT_LOGGER_NAME)
    loggers = [root, *map(logging.getLogger, (EVENT_LOGGER_NAME, TRACE_LOGGER_NAME))]
    before = [(logger.level, logger.propagate, logger.disabled) for logger in loggers]
    root.addHandler(lines)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = logger is not root
        logger.disabled = False
    try:
        yield lines
    finally:
        root.removeHandler(lines)
        for logger, (level, propagate, disabled) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            logger.disabled = disabled


class Echo(BaseAgent):
    """Answers with the text that it got, or fails with it."""

    def __init__(self) -> None:
        super().__init__("answers with the text that it got")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Answer, or fail where the text is for everybody."""
        if not ctx.is_rpc:
            raise ValueError(message)
        return message


async def _log_all(texts: Sequence[tuple[str, str, str]]) -> None:
    async with open_runtime() as runtime:
        for number, (type, key, text) in enumerate(texts):
            registered = f"echo{number}" if not is_type(type) else f"{type[:200]}{number}"
            await runtime.register_factory(registered, Echo)
            await runtime.add_subscription(TypeSubscription(registered, registered))
            id = AgentId(registered, key if is_key(key) else "default")
            await runtime.send_message(text, id, sender=id, message_id=text)
            topic = TopicId(registered, id.key)
            await runtime.publish_message(text, topic, message_id=text)
            await runtime.publish_message(text, TopicId(f"no{registered}", id.key))
            await runtime.stop_when_idle()
            runtime.start()


def try_log_lines(watch: Watch) -> None:
    """Run messages with any text for ids, message ids and bodies, with every logger on."""
    while watch.goes_on():
        seed = watch.next_seed()
        random = Random(seed)
        texts = [(a_type(random), a_key(random), some_text(random)[:9999]) for _ in range(5)]
        with all_logged() as logged:
            trio.run(_log_all, texts)
        for line in logged.lines:
            if not is_one_line(line):
                watch.violation(f"{again('log-lines', seed)}: {line!r:.300} is not one line")
        watch.met("line", len(logged.lines))
        watch.done(len(texts))
