"""Programs as data: what is submitted to a runtime, what handlers do with it, and what goes wrong.

A program is a list of steps from outside. What handlers and intervention handlers do is written in
the messages themselves. `_world` runs programs, and knows what may not happen in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final, Literal

import attrs

from ..._sansio._identifiers import AgentId, TopicId

__all__ = [
    "AGENTS",
    "KEYS",
    "KINDS",
    "TOPICS",
    "TYPES",
    "Act",
    "Job",
    "Program",
    "Step",
    "dense_program",
    "program_with",
    "shrink_program",
]

# Agent types and the limits they live under.
TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "free": {},
    "one": {"max_concurrency": 1},
    "two": {"max_concurrency": 2, "mailbox_size": 2},
    "tight": {"mailbox_size": 1},
    "picky": {"max_concurrency": 1, "mailbox_size": 1, "overflow": "raise"},
    "slow": {"max_concurrency": 1},  # its factory waits
    "flaky": {},  # its factory waits, and fails each second time
    "curious": {},  # its factory asks another agent
    "brief": {"idle_timeout": 2},
}
KEYS: Final = ("x", "y")
AGENTS: Final = [AgentId(type, key) for type in TYPES for key in KEYS]
TOPICS: Final = [TopicId(type, key) for type in ("p", "q") for key in KEYS]


class _Short(attrs.AttrsInstance):
    """Is written down as the call that makes it, without the arguments that are the default."""

    def __repr__(self) -> str:
        fields = attrs.fields(type(self))
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@attrs.frozen(repr=False)
class Act(_Short):
    """One thing that a handler does.

    It waits for *seconds*; waits for them whatever cancels it; raises; sends *job* to *agent*, or
    to *agent* and *other* at once; publishes it to *topic*; sets a context variable; or comes back
    only when cancelled.
    """

    kind: Literal[
        "wait",
        "insist",
        "raise",
        "raise group",
        "send",
        "send twice",
        "publish",
        "mark",
        "hang",
    ]
    seconds: float = 1
    job: Job | None = None
    agent: AgentId = AGENTS[0]
    other: AgentId = AGENTS[0]
    topic: TopicId = TOPICS[0]
    patience: float | None = None


@attrs.frozen(repr=False)
class Job(_Short):
    """What becomes of one message."""

    acts: tuple[Act, ...] = ()
    careful: bool = True  # the handler catches what its own sends raise
    on_way: Literal["pass", "drop", "raise", "wait", "ask"] = "pass"
    ask: AgentId = AGENTS[0]
    reply: Literal["pass", "drop", "raise", "wait"] = "pass"


@attrs.frozen(repr=False)
class Step(_Short):
    """One thing that is done from outside."""

    kind: Literal[
        "send",
        "publish",
        "cancel",
        "cancel token",
        "sleep",
        "yield",
        "subscribe",
        "unsubscribe",
        "deactivate",
        "save",
        "load",
        "collect garbage",
        "stop",
        "stop when idle",
        "start",
    ]
    job: Job = Job()
    agent: AgentId = AGENTS[0]
    topic: TopicId = TOPICS[0]
    token: int | None = None
    number: int = 0
    times: int = 1
    seconds: float = 1
    patience: float | None = None


@attrs.frozen(repr=False)
class Program(_Short):
    """What is done with one runtime, from its first step to how its block is left."""

    steps: Sequence[Step]
    subscriptions: Sequence[tuple[str, str]] = (("p", "free"), ("p", "one"), ("q", "two"))
    max_pending: int | None = None
    overflow: Literal["wait", "raise"] = "wait"
    intervene: bool = False
    started: bool = True
    ignore: bool = True  # failures of publications are logged, and not kept
    leave: Literal["drain", "stop", "error", "cancel"] = "drain"


# --- programs of many messages at a time


def dense_job(random: Random, depth: int) -> Job:
    """Make a job that sends and publishes others, to a depth."""
    choose = random.choice
    kinds: list[Any] = ["wait"] * 4 + ["raise"] * 2 + ["send"] * 6 + ["publish"] * 4
    kinds += ["send twice"] * 4 + ["insist", "raise group", "mark"]
    acts = [
        Act(
            kind=choose(kinds),
            seconds=choose([0, 0.5, 1, 3]),
            job=dense_job(random, depth - 1),
            agent=choose(AGENTS),
            other=choose(AGENTS),
            topic=choose(TOPICS),
            patience=choose([None, None, None, 0, 0.5, 2]),
        )
        for _ in range(choose([0, 1, 1, 2, 3]) if depth else 0)
    ]
    ways: list[Any] = ["pass"] * 6
    return Job(
        acts=tuple(acts),
        careful=random.random() < 0.8,
        on_way=choose([*ways, "drop", "raise", "wait", "wait", "ask", "ask"]),
        ask=choose(AGENTS),
        reply=choose([*ways, "drop", "raise", "wait"]),
    )


def dense_program(seed: int, *, depth: int = 4, steps: int = 40) -> Program:
    """Make a program of up to so many steps, some of which submit several messages."""
    random = Random(seed)
    choose = random.choice
    kinds: list[Any] = ["send", "publish"] * 8
    kinds += ["cancel"] * 3 + ["cancel token", "subscribe", "unsubscribe"] + ["deactivate"] * 2
    kinds += ["sleep", "yield"] * 2 + ["stop", "stop when idle", "start", "save", "load"]
    leaves: list[Any] = ["drain"] * 5 + ["stop", "error", "cancel"]
    overflows: list[Any] = ["wait", "wait", "raise"]
    return Program(
        steps=[
            Step(
                kind=choose(kinds),
                job=dense_job(random, depth),
                agent=choose(AGENTS),
                topic=choose(TOPICS),
                token=choose([None, None, 0, 1]),
                number=random.randrange(30),
                times=choose([1, 2, 5]),
                seconds=choose([0, 0.5, 1, 3]),
            )
            for _ in range(random.randrange(min(5, steps), steps))
        ],
        subscriptions=[(t, type) for t in ("p", "q") for type in TYPES if random.random() < 0.5],
        max_pending=choose([None, None, 1, 3]),
        overflow=choose(overflows),
        intervene=random.random() < 0.6,
        started=random.random() < 0.8,
        ignore=random.random() < 0.5,
        leave=choose(leaves),
    )


# --- programs of chosen faults

# What a kind of fault adds to a program: steps, and options of the program.
Added = tuple[list[Step], dict[str, Any]]

FREE: Final = AgentId("free", "x")
ONE: Final = AgentId("one", "x")
TWO: Final = AgentId("two", "x")
P: Final = TOPICS[0]


def _job(*acts: Act, **options: Any) -> Job:
    return Job(acts=acts, **options)


def _chain(*last: Act, depth: int = 2, **options: Any) -> Job:
    """Have one agent ask the next, down to one that does *last*."""
    job = Job(acts=last, **options)
    for number in range(depth):
        job = Job(acts=(Act("send", job=job, agent=(FREE, ONE, TWO)[number % 3]),), careful=False)
    return job


def _both(job: Job, agent: AgentId = FREE, **options: Any) -> list[Step]:
    """Send a job, and publish it."""
    return [Step("send", job, agent, **options), Step("publish", job, topic=P, **options)]


WAIT: Final = Act("wait", seconds=1)
SEND: Final = Act("send", job=Job((WAIT,)), agent=ONE)

KINDS: Final[Mapping[str, Callable[[Random], Added]]] = {
    "handler raises": lambda r: (_both(_chain(WAIT, Act("raise"))), {"ignore": r.random() < 0.5}),
    "handler raises a group": lambda r: (_both(_job(WAIT, Act("raise group"))), {}),
    "handler raises at once": lambda r: (_both(_job(Act("raise")), ONE, times=3), {}),
    "handler hangs": lambda r: ([Step("send", _job(Act("hang")), ONE, patience=2)], {}),
    "handler insists": lambda r: (
        [Step("send", _chain(Act("insist", seconds=3)), FREE, patience=1)],
        {},
    ),
    "factory waits": lambda r: (_both(Job(), AgentId("slow", "x"), times=3), {}),
    "factory fails": lambda r: (
        [Step("send", Job(), AgentId("flaky", key), times=2) for key in KEYS],
        {"subscriptions": [("p", "flaky"), ("p", "free")]},
    ),
    "factory asks": lambda r: ([Step("send", Job(), AgentId("curious", "x"), times=2)], {}),
    "intervention drops": lambda r: (_both(_job(SEND, on_way="drop")), {"intervene": True}),
    "intervention raises": lambda r: (_both(_job(SEND, on_way="raise")), {"intervene": True}),
    "intervention waits": lambda r: (
        _both(_job(SEND, on_way="wait"), ONE, times=2),
        {"intervene": True},
    ),
    "intervention asks": lambda r: (
        _both(_job(WAIT, on_way="ask", ask=ONE), ONE, times=2),
        {"intervene": True},
    ),
    "reply is dropped": lambda r: (_both(_chain(WAIT, reply="drop")), {"intervene": True}),
    "reply is refused": lambda r: (_both(_chain(WAIT, reply="raise")), {"intervene": True}),
    "token is cancelled": lambda r: (
        [
            *(Step(kind, _chain(WAIT), FREE, topic=P, token=0) for kind in ("send", "publish")),
            Step("yield", times=r.randrange(6)),
            Step("cancel token", token=0),
        ],
        {},
    ),
    "sender is cancelled": lambda r: (
        [
            Step("send", _chain(WAIT, depth=3), FREE, times=2),
            Step("yield", times=r.randrange(6)),
            Step("cancel", number=r.randrange(4)),
        ],
        {},
    ),
    "deadline passes": lambda r: (
        [Step("send", _chain(WAIT, WAIT), FREE, patience=r.choice([0, 0.5, 1, 1.5]))],
        {},
    ),
    "stop and start": lambda r: (
        [*_both(_chain(WAIT)), Step("stop", seconds=r.choice([0, 0.5, 2])), Step("start")],
        {},
    ),
    "deactivation": lambda r: ([*_both(_chain(WAIT), ONE), Step("deactivate", agent=ONE)], {}),
    "subscriptions change": lambda r: (
        [
            Step("publish", _job(WAIT), topic=P),
            Step("unsubscribe"),
            Step("publish", _job(WAIT), topic=P),
            Step("subscribe", agent=TWO, topic=P),
        ],
        {},
    ),
    "state is saved": lambda r: (
        [*_both(_chain(WAIT)), Step("save"), *_both(Job()), Step("load"), Step("sleep")],
        {},
    ),
    "overload": lambda r: (
        [Step("send", _chain(WAIT), FREE, times=5), Step("publish", _job(WAIT), topic=P, times=5)],
        {"max_pending": r.choice([1, 3]), "overflow": r.choice(["wait", "raise"])},
    ),
    "mailbox is full": lambda r: (
        [
            Step("send", _job(WAIT), AgentId(type, "x"), times=4)
            for type in ("two", "tight", "picky")
        ],
        {"subscriptions": [("p", "two"), ("p", "tight"), ("p", "picky")]},
    ),
    "circle of requests": lambda r: (
        [
            Step("send", _job(Act("send", job=_job(Act("send", agent=a, job=Job())), agent=b)), a)
            for a, b in ((ONE, AgentId("one", "y")), (AgentId("one", "y"), ONE))
        ],
        {},
    ),
}


def program_with(kinds: Sequence[str], seed: int) -> Program:
    """Make a program in which these kinds of faults meet.

    Their steps are mixed by lot, each kind's in its own order, with a little traffic between.
    """
    random = Random(seed)
    lines = [[Step("send", _job(SEND), FREE), Step("publish", _job(WAIT), topic=P)]]
    options: dict[str, Any] = {}
    for kind in kinds:
        steps, more = KINDS[kind](random)
        lines.append(list(steps))
        for name, value in more.items():
            both = name in options and name == "subscriptions"
            options[name] = [*options[name], *value] if both else value
    mixed: list[Step] = []
    while lines:
        line = random.choice(lines)
        mixed.append(line.pop(0))
        if random.random() < 0.3:
            mixed.append(Step(random.choice(["yield", "sleep"]), seconds=0.5))
        if not line:
            lines.remove(line)
    if "subscriptions" in options:
        options["subscriptions"] = list(dict.fromkeys([*options["subscriptions"], ("p", "one")]))
    options["leave"] = random.choice(["drain", "drain", "drain", "stop", "error", "cancel"])
    return Program(mixed, **options)


# --- the smallest program that still fails


def shrink_program(program: Program, fails: Callable[[Program], bool]) -> Program:
    """Leave out of a program what it does not need to fail.

    Args:
        program: One that fails.
        fails: Says whether another one still does.
    """
    before: Program | None = None
    while before != program:
        before = program
        for smaller in _smaller_programs(program):
            if fails(smaller):
                program = smaller
                break
    return program


def _smaller_programs(program: Program) -> Iterator[Program]:
    steps = list(program.steps)
    size = len(steps)
    while size:
        for start in range(0, len(steps), size):
            yield attrs.evolve(program, steps=steps[:start] + steps[start + size :])
        size //= 2
    plain = Program(steps)
    for field in ("max_pending", "intervene", "started", "leave", "overflow", "ignore"):
        value = getattr(plain, field)
        if getattr(program, field) != value:
            yield attrs.evolve(program, **{field: value})
    subscriptions = list(program.subscriptions)
    for place in range(len(subscriptions)):
        yield attrs.evolve(
            program, subscriptions=subscriptions[:place] + subscriptions[place + 1 :]
        )
    for place, step in enumerate(steps):
        for smaller in _smaller_steps(step):
            yield attrs.evolve(program, steps=[*steps[:place], smaller, *steps[place + 1 :]])


def _smaller_steps(step: Step) -> Iterator[Step]:
    if step.times > 1:
        yield attrs.evolve(step, times=1)
    if step.token is not None and step.kind != "cancel token":
        yield attrs.evolve(step, token=None)
    for job in _smaller_jobs(step.job):
        yield attrs.evolve(step, job=job)


def _smaller_jobs(job: Job) -> Iterator[Job]:
    if job.on_way != "pass":
        yield attrs.evolve(job, on_way="pass")
    if job.reply != "pass":
        yield attrs.evolve(job, reply="pass")
    for place, act in enumerate(job.acts):
        rest = (*job.acts[:place], *job.acts[place + 1 :])
        yield attrs.evolve(job, acts=rest)
        if act.patience is not None:
            yield attrs.evolve(job, acts=_put(job.acts, place, attrs.evolve(act, patience=None)))
        if act.kind == "send twice":
            yield attrs.evolve(job, acts=_put(job.acts, place, attrs.evolve(act, kind="send")))
        if act.job is not None:
            for inner in _smaller_jobs(act.job):
                yield attrs.evolve(job, acts=_put(job.acts, place, attrs.evolve(act, job=inner)))


def _put(acts: tuple[Act, ...], place: int, act: Act) -> tuple[Act, ...]:
    return (*acts[:place], act, *acts[place + 1 :])
