# Pykka: the best known actor library for Python. One thread per actor, blocking calls.
#
# Its shape differs, so the scenarios say the same in its words: a request is ask(), a publication
# is ActorRegistry.broadcast(), and requests in flight are futures, with no caller to start for
# each. It has no keys, so "a new key" starts an actor. It has no tokens, no intervention handlers
# and no tracing; those names are absent here.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pykka

from ._sample import (
    CHAIN,
    SUBSCRIBERS,
    WARM_UP,
    WORK,
    Sample,
    Tally,
    Work,
    check_replies,
    resident_bytes,
    stopwatch,
)

NEW_KEY_WARM_UP: Final = 20  # each is a thread that stays


class Worker(pykka.ThreadingActor):
    """Answers with the message it got."""

    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message


class Link(pykka.ThreadingActor):
    """One of a chain: asks the next one, if there is one."""

    use_daemon_thread = True

    def __init__(self, following: pykka.ActorRef[Link] | None) -> None:
        super().__init__()
        self._following = following

    def on_receive(self, message: Any) -> Any:
        if self._following is None:
            return message
        return self._following.ask(message)


class Subscriber(pykka.ThreadingActor):
    """Counts what it is told. Each has its own tally, as they run in threads."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self._tally = Tally()

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Work):
            self._tally.count += 1
            return message
        return self._tally.count


@contextmanager
def stopping_all() -> Iterator[None]:
    try:
        yield
    finally:
        pykka.ActorRegistry.stop_all()


def sequential(count: int) -> Sample:
    with stopping_all():
        ref = Worker.start()
        for _ in range(WARM_UP):
            ref.ask(WORK)
        with stopwatch() as watch:
            replies: list[object] = [ref.ask(WORK) for _ in range(count)]
        check_replies(replies, count)
    return Sample(watch.seconds, count)


def in_flight(count: int) -> Sample:
    with stopping_all():
        ref = Worker.start()
        for _ in range(WARM_UP):
            ref.ask(WORK)
        with stopwatch() as watch:
            futures = [ref.ask(WORK, block=False) for _ in range(count)]
            replies: list[object] = list(pykka.get_all(futures))
        check_replies(replies, count)
    return Sample(watch.seconds, count)


def chain(count: int) -> Sample:
    with stopping_all():
        ref: pykka.ActorRef[Link] | None = None
        for _ in range(CHAIN):
            ref = Link.start(ref)
        assert ref is not None
        for _ in range(WARM_UP // CHAIN):
            ref.ask(WORK)
        with stopwatch() as watch:
            replies: list[object] = [ref.ask(WORK) for _ in range(count // CHAIN)]
        check_replies(replies, count // CHAIN)
    return Sample(watch.seconds, count)


def new_key(count: int) -> Sample:
    with stopping_all():
        actors: dict[str, pykka.ActorRef[Worker]] = {}

        def ask_key(key: str) -> object:
            ref = actors.get(key)
            if ref is None:
                ref = actors[key] = Worker.start()
            return ref.ask(WORK)

        for number in range(NEW_KEY_WARM_UP):
            ask_key(f"warm{number}")
        keys = [f"key{number}" for number in range(count)]
        with stopwatch() as watch:
            replies: list[object] = [ask_key(key) for key in keys]
        check_replies(replies, count)
    return Sample(watch.seconds, count)


def publish(count: int) -> Sample:
    with stopping_all():
        refs = [Subscriber.start() for _ in range(SUBSCRIBERS)]

        def wait_until_delivered() -> int:
            # First in, first out: who answers this has handled all that came before.
            return sum(pykka.get_all([ref.ask("how many?", block=False) for ref in refs]))

        pykka.ActorRegistry.broadcast(WORK, Subscriber)
        wait_until_delivered()
        with stopwatch() as watch:
            for _ in range(count // SUBSCRIBERS):
                pykka.ActorRegistry.broadcast(WORK, Subscriber)
            delivered = wait_until_delivered()
        Tally(delivered).check(SUBSCRIBERS + count)
    return Sample(watch.seconds, count)


def memory(count: int) -> Sample:
    with stopping_all():
        actors: dict[str, pykka.ActorRef[Worker]] = {}
        for number in range(NEW_KEY_WARM_UP):
            actors[f"warm{number}"] = ref = Worker.start()
            ref.ask(WORK)
        before = resident_bytes()
        for number in range(count):
            actors[f"key{number}"] = ref = Worker.start()
            ref.ask(WORK)
        live = resident_bytes()
        alone = [Worker() for _ in range(count)]
        after = resident_bytes()
        assert len(alone) == count
    return Sample((live - before) - (after - live), count)


SCENARIOS: Final[Mapping[str, Callable[[int], Sample]]] = {
    "sequential": sequential,
    "in_flight": in_flight,
    "chain": chain,
    "new_key": new_key,
    "publish": publish,
    "memory": memory,
}
