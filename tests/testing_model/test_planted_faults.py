"""The state machine is on trial: each fault here is planted into the runtime, and it finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from trio_agents import AgentId
from trio_agents._core._activation import Activation
from trio_agents._core._envelope import HANDLED, Request
from trio_agents._core._gate import Gate
from trio_agents._core._interception import Interceptors
from trio_agents._core._ledger import Ledger
from trio_agents._core._pipeline import Pipeline
from trio_agents._core._room import Door
from trio_agents._core._runtime import Runtime
from trio_agents._core._supervision import Supervisor
from trio_agents._core._workers import Workers
from trio_agents._sansio._routing import RoutingTable
from trio_agents.testing._acts import Body
from trio_agents.testing.stateful import Disagreement, RuntimeMachine, agents

EXAMPLES = 1000  # most are found within the first ten

Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: dict[str, Fault] = {}


def fault(plant: Fault) -> Fault:
    FAULTS[plant.__name__.replace("_", " ")] = plant
    return plant


@fault
def a_reply_is_lost(patch: pytest.MonkeyPatch) -> None:
    settle = Pipeline.settle

    class Lost:
        def set(self) -> None: ...

    lost: Any = Lost()

    def lose(self: Any, envelope: Any, outcome: Any, **rest: Any) -> None:
        if type(envelope) is Request and outcome is HANDLED:
            envelope.reply = lost
        settle(self, envelope, outcome, **rest)

    patch.setattr(Pipeline, "settle", lose)


@fault
def recipients_begin_in_the_wrong_order(patch: pytest.MonkeyPatch) -> None:
    extend = Workers.extend
    patch.setattr(Workers, "extend", lambda self, envelopes: extend(self, envelopes[::-1]))


@fault
def what_waits_for_a_place_begins_last_in_first_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Workers, "push", lambda self, envelope: self.submit(envelope))
    peek = Activation._peek

    def peek_at_the_last(self: Any) -> Any:
        first = peek(self)
        second = None
        if first is not None and self._waiting and not first.held:
            self._waiting -= 1
            second = self._mailbox[1].receive_nowait()
            self._mailbox[0].send_nowait(first)
            self._waiting += 1
            self.head = second
        return second or first

    patch.setattr(Activation, "_peek", peek_at_the_last)


@fault
def handled_is_counted_twice(patch: pytest.MonkeyPatch) -> None:
    settle = Ledger.settle

    def count_again(self: Any, outcome: Any) -> None:
        settle(self, outcome)
        self.handled += outcome is HANDLED

    patch.setattr(Ledger, "settle", count_again)


@fault
def routes_are_remembered_when_a_subscription_comes(patch: pytest.MonkeyPatch) -> None:
    add = RoutingTable.add

    def forget_nothing(self: Any, subscription: Any) -> None:
        remembered = dict(self._remembered)
        add(self, subscription)
        self._remembered.update(remembered)

    patch.setattr(RoutingTable, "add", forget_nothing)


@fault
def unsubscribing_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def ignore(self: Any, id: str) -> None:
        if id not in self._subscriptions:
            raise LookupError(id)

    patch.setattr(RoutingTable, "remove", ignore)


@fault
def a_cancellation_does_not_reach_the_handler(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pipeline, "_cancel_running", lambda self: self._cancelling.clear())


@fault
def the_state_of_a_quiet_agent_is_not_given_back(patch: pytest.MonkeyPatch) -> None:
    make = Pipeline._call_factory

    async def make_without(self: Any, activation: Any, starter: Any) -> Any:
        self.dormant.pop(activation.id, None)
        return await make(self, activation, starter)

    patch.setattr(Pipeline, "_call_factory", make_without)


@fault
def a_stop_leaves_what_is_queued_pending(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "fail_queued", lambda self, reason: None)


@fault
def one_more_handler_runs_than_the_limit_allows(patch: pytest.MonkeyPatch) -> None:
    init = Activation.__init__

    def be_generous(self: Any, *args: Any) -> None:
        init(self, *args)
        if self.limit is not None:
            self.limit += 1

    patch.setattr(Activation, "__init__", be_generous)


@fault
def a_publisher_hears_itself(patch: pytest.MonkeyPatch) -> None:
    address = Pipeline.address

    def forget_the_sender(self: Any, publication: Any) -> Any:
        sender, publication.sender = publication.sender, None
        try:
            return address(self, publication)
        finally:
            publication.sender = sender

    patch.setattr(Pipeline, "address", forget_the_sender)


@fault
def nobody_at_the_door_is_let_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Door, "move_up", lambda self: None)


@fault
def the_failure_of_a_publication_is_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Supervisor, "report", lambda self, error, envelope: None)


@fault
def intervention_handlers_are_asked_in_the_wrong_order(patch: pytest.MonkeyPatch) -> None:
    init = Interceptors.__init__
    patch.setattr(Interceptors, "__init__", lambda self, handlers: init(self, handlers[::-1]))


@fault
def a_token_is_not_linked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pipeline, "link_token", lambda self, envelope, token: None)


@fault
def a_message_that_comes_back_waits_like_any_other(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Activation, "is_reentrant", lambda self, envelope: False)


@fault
def circles_of_waits_are_not_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pipeline, "_check_circle", lambda self, envelope, activation: None)


@fault
def quiet_agents_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Runtime, "start", _start_without_reaper)


def _start_without_reaper(self: Any, start: Any = Runtime.start) -> None:
    start(self)
    self._pipeline.on_idle = None


@fault
def messages_are_handled_while_states_are_saved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "nothing_runs", lambda self: True)


def cross(self: Any, one: AgentId, other: AgentId) -> None:
    self.send_crossing(one, other, Body(), True)


# Programs that meet these faults are rare: rules that lead to them come more often.
CROSSINGS = {f"cross_{n}": rule(one=agents, other=agents)(cross) for n in range(10)}
RULES = {"circles of waits are not refused": CROSSINGS}


def run_machine(loop: Any, more: Mapping[str, Any] = {}, *, examples: int = EXAMPLES) -> None:
    machine: Any = type("Machine", (RuntimeMachine,), {"loop": loop, **dict(more)})
    bounded = settings(
        max_examples=examples,
        stateful_step_count=50,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(2)(machine), settings=bounded)


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
@pytest.mark.parametrize("name", FAULTS)
def test_the_machine_finds_a_planted_fault(
    name: str, loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[name](monkeypatch)
    with pytest.raises(Disagreement):
        run_machine(loop, RULES.get(name, {}))


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_the_same_programs_find_nothing_where_nothing_was_planted(loop: Any) -> None:
    run_machine(loop, examples=30)
