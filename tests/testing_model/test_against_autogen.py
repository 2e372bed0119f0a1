"""The same programs on AutoGen Core and here: the same comes of them, or what is on the list."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from trio_agents._sansio._identifiers import AgentId, TopicId
from trio_agents.testing._acts import Act, Ask, Body, Fail, Message, Way
from trio_agents.testing.nightly import _autogen_differences
from trio_agents.testing.nightly._autogen import compare_programs
from trio_agents.testing.nightly._autogen_differences import DIFFERENCES, compare
from trio_agents.testing.nightly._autogen_programs import (
    CallName,
    SequentialCall,
    SequentialProgram,
    program_from,
)
from trio_agents.testing.nightly._row import Watch

# AutoGen leaves coroutines behind when one recipient of a publication cannot be made.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine 'SingleThreadedAgentRuntime"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PROGRAMS: Final = 1000  # the long run does more: its row "autogen"
PARTS: Final = 5
ROOT: Final = Path(__file__).parent.parent.parent

A: Final = AgentId("a", "x")
B: Final = AgentId("b", "x")
UNKNOWN: Final = AgentId("unknown", "x")
P: Final = TopicId("p", "x")
START: Final = SequentialCall("start")
IDLE: Final = SequentialCall("stop_when_idle")
SET_UP: Final = (
    SequentialCall("register", ("a", "works")),
    SequentialCall("register", ("b", "works")),
    SequentialCall("subscribe", ("s", "type", "p", "a")),
)


def call(name: CallName, *args: Any) -> SequentialCall:
    return SequentialCall(name, args)


def message(*acts: Act, on_way: tuple[Way, ...] = ()) -> Message:
    return Message("m", Body(acts, on_way=on_way))


def program(
    *calls: SequentialCall, interventions: int = 0, ignore: bool = True
) -> SequentialProgram:
    return SequentialProgram((*SET_UP, *calls), interventions, ignore)


# The shortest program that shows each difference.
SHOWN: Final[dict[str, SequentialProgram]] = {
    "an unknown agent type has an exception of its own": program(
        START, call("send", message(), UNKNOWN)
    ),
    "a message that was cancelled before is not handled": program(
        START, SequentialCall("send", (message(), A), is_cancelled=True)
    ),
    "a subscription id is taken once": program(call("subscribe", "s", "prefix", "q", "a")),
    "a state of an unknown type is an error": program(call("load", {str(UNKNOWN): ()})),
    "a named sender is not made": program(
        START, SequentialCall("send", (message(), A), sender=B), call("save")
    ),
    "an agent is closed once": program(
        START, call("send", message(), A), call("close"), call("close")
    ),
    "subscriptions that overlap give one delivery": program(
        call("subscribe", "t", "prefix", "p", "a"), START, call("publish", message(), P)
    ),
    "an intervention handler sees what the one before made": program(
        START, call("send", message(on_way=("change", "change")), A), interventions=2
    ),
    "what an intervention handler ends is finished": program(
        START, call("send", message(on_way=("drop",)), A), IDLE, interventions=1
    ),
    "process next takes a whole request": program(
        call("publish", message(Ask(Body(), B)), P), call("process_next"), call("process_next")
    ),
    "a failure of a publication loses nothing else": program(
        START,
        call("publish", message(Fail()), P),
        call("send", message(), B),
        ignore=False,
    ),
    "one recipient that cannot be made is no matter to others": program(
        call("subscribe", "t", "type", "p", "unknown"), START, call("publish", message(), P)
    ),
}


# In parts that several processes can share.
@pytest.mark.parametrize("part", range(PARTS))
def test_programs_differ_in_nothing_but_what_is_listed(part: int) -> None:
    unexplained: dict[int, str] = {}
    calls = whole = 0
    for seed in range(part, PROGRAMS, PARTS):
        found = compare(program_from(seed))
        calls += found.calls
        whole += found.is_whole
        if found.unexplained is not None:
            unexplained[seed] = found.unexplained
    assert unexplained == {}
    assert calls > 20 * PROGRAMS / PARTS, "most programs part too soon to say anything"
    assert whole > PROGRAMS / PARTS / 3


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_shown_by_a_short_program(name: str) -> None:
    found = compare(SHOWN[name])
    assert found.differences == [name]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_the_only_reason_for_what_it_explains(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {other: explains for other, explains in DIFFERENCES.items() if other != name}
    monkeypatch.setattr(_autogen_differences, "DIFFERENCES", others)
    found = compare(SHOWN[name])
    assert found.unexplained is not None


def test_a_type_that_was_missing_when_messages_were_sent_explains_what_follows() -> None:
    found = compare(
        program(
            call("subscribe", "t", "type", "p", "unknown"),
            START,
            call("publish", message(), P),
            call("register", "unknown", "works"),
            call("send", message(), B),
            ignore=False,
        )
    )
    assert found.unexplained is None


def test_a_type_that_was_registered_in_time_explains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases: list[_autogen_differences.Case] = []

    def keep(case: _autogen_differences.Case) -> bool:
        cases.append(case)
        return False

    monkeypatch.setattr(_autogen_differences, "DIFFERENCES", {"kept": keep})
    compare(
        program(
            call("subscribe", "t", "type", "q", "unknown"),
            call("register", "unknown", "works"),
            START,
            call("publish", message(Fail()), P),
            call("send", message(), B),
            ignore=False,
        )
    )
    assert [case.a_type_was_missing() for case in cases] == [False]


def test_the_list_for_users_is_the_list_of_the_comparison() -> None:
    page = (ROOT / "docs" / "autogen.md").read_text(encoding="utf-8")
    section = page.split("## Held against AutoGen", 1)[1].split("\n## ", 1)[0]
    listed = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")]
    names = {row.removeprefix("| ").lower() for row in listed[2:]}
    assert names == set(DIFFERENCES)


def test_the_row_of_the_long_run_counts_what_it_meets() -> None:
    watch = Watch(goal=40, seconds=60, first_seed=PROGRAMS)
    compare_programs(watch)
    assert watch.report.units == 40
    assert watch.report.violations == []
    assert watch.report.reached["whole programs"] > 0


def test_the_row_reports_a_difference_that_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_autogen_differences, "DIFFERENCES", {})
    watch = Watch(goal=5, seconds=60)
    compare_programs(watch)
    assert watch.report.violated > 0
    assert "compare(program_from(" in watch.report.violations[0]
