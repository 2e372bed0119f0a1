"""Saving and restoring: one consistent cut, in JSON, or an error that names the cause."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from trio_agents import (
    AgentId,
    BaseAgent,
    DefaultInterventionHandler,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from trio_agents.exceptions import StateError, UndeliverableException, UnknownAgentType

from . import loop
from .doers import check_idle
from .loop import MockClock, SingleThreadedAgentRuntime, open_runtime, wait_all_tasks_blocked

Act = Callable[["Actor", MessageContext], Awaitable[Any]]

A = AgentId("actor", "a")
B = AgentId("actor", "b")
NEWS = TopicId("news", "a")
STATE: Mapping[str, Any] = {"actor/a": {"count": 3}}


class Actor(BaseAgent):
    """Does what the message says: messages are functions. Its state is what it noted."""

    def __init__(self) -> None:
        super().__init__("an actor")
        self.notes: dict[str, Any] = {}

    async def on_message_impl(self, message: Act, ctx: MessageContext) -> Any:
        return await message(self, ctx)

    async def save_state(self) -> Mapping[str, Any]:
        return self.notes

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.notes = dict(state)


async def count(agent: Actor, ctx: MessageContext) -> int:
    agent.notes["count"] = agent.notes.get("count", 0) + 1
    number: int = agent.notes["count"]
    return number


def note(what: Any) -> Act:
    """Give a message that makes its handler note something."""

    async def act(agent: Actor, ctx: MessageContext) -> None:
        agent.notes.setdefault("notes", []).append(what)

    return act


class Outcome:
    """Calls something in a task of its own, and keeps what comes of it."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = False

    async def run(self, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            self.value = await call()
        except (Exception, loop.MessageCancelled) as exc:
            self.error = exc
        self.done = True


async def new_runtime(**options: Any) -> SingleThreadedAgentRuntime:
    runtime = SingleThreadedAgentRuntime()
    await Actor.register(runtime, "actor", Actor, **options)
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    return runtime


# --- saving


# ST-09, RT-27
async def test_the_state_is_a_mapping_from_agent_ids_to_their_states() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        assert await runtime.save_state() == {}
        await runtime.send_message(count, A)
        await runtime.get(B, lazy=False)
        state = await runtime.save_state()
        assert state == {"actor/a": {"count": 1}, "actor/b": {}}
        assert json.loads(json.dumps(state)) == state


# ST-09, RT-27
async def test_the_state_is_a_snapshot_that_later_messages_do_not_change() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        await runtime.send_message(note("before"), A)
        whole, one = await runtime.save_state(), await runtime.agent_save_state(A)
        await runtime.send_message(note("after"), A)
        assert whole == {"actor/a": {"notes": ["before"]}}
        assert one == {"notes": ["before"]}


# ST-09
async def test_saving_works_before_start_after_stop_and_outside_of_the_block() -> None:
    runtime = await new_runtime()
    await runtime.get(A, lazy=False)
    expected = {"actor/a": {}}
    assert await runtime.save_state() == expected
    async with runtime:
        assert await runtime.save_state() == expected
        runtime.start()
        await runtime.send_message(count, A)
        await runtime.stop()
        assert await runtime.save_state() == {"actor/a": {"count": 1}}
    assert await runtime.save_state() == {"actor/a": {"count": 1}}


# ST-09
async def test_handlers_that_run_are_finished_with_the_requests_they_wait_for() -> None:
    go = loop.Event()

    async def begin(agent: Actor, ctx: MessageContext) -> None:
        await note("began")(agent, ctx)
        await go.wait()
        assert await agent.send_message(count, B) == 1
        await note("ended")(agent, ctx)

    saved = Outcome()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(runtime.send_message, begin, A)
        await wait_all_tasks_blocked()
        nursery.start_soon(saved.run, runtime.save_state)
        await wait_all_tasks_blocked()
        assert not saved.done
        go.set()
        await wait_all_tasks_blocked()
        assert saved.value == {"actor/a": {"notes": ["began", "ended"]}, "actor/b": {"count": 1}}


# ST-09, ST-11
@pytest.mark.parametrize("what", ["save", "load"])
@pytest.mark.parametrize("begun", ["by hand", "before a stop"])
@pytest.mark.parametrize("asks", ["before", "meanwhile"])
async def test_requests_are_finished_too_that_handlers_wait_for_while_the_runtime_is_not_started(
    what: str, begun: str, asks: str
) -> None:
    # Found by the reference model: it hung.
    go = loop.Event()

    async def ask(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()
        await agent.send_message(count, B)
        await count(agent, ctx)

    looked, sent = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        if begun == "by hand":
            nursery.start_soon(sent.run, lambda: runtime.send_message(ask, A))
            await runtime.process_next()
        else:
            runtime.start()
            nursery.start_soon(sent.run, lambda: runtime.send_message(ask, A))
            await wait_all_tasks_blocked()
            with loop.CancelScope() as scope:
                scope.cancel()
                await runtime.stop()
        await runtime.publish_message(note("held up"), NEWS)
        if asks == "before":
            go.set()
            await wait_all_tasks_blocked()
        call = runtime.save_state if what == "save" else lambda: runtime.load_state(STATE)
        nursery.start_soon(looked.run, call)
        await wait_all_tasks_blocked()
        if asks == "meanwhile":
            assert not looked.done
            go.set()
            await wait_all_tasks_blocked()
        assert looked.done
        assert looked.error is None
        assert sent.done
        notes = {"actor/a": {"count": 1}, "actor/b": {"count": 1}}
        assert looked.value == (notes if what == "save" else None)
        assert runtime.unprocessed_messages_count == 1
        await runtime.process_next()
        assert (await runtime.agent_save_state(A))["notes"] == ["held up"]


# ST-09
async def test_messages_that_come_meanwhile_are_held_up_and_handled_afterwards_in_order() -> None:
    go = loop.Event()

    async def begin(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()
        for number in range(3):
            await agent.publish_message(note(f"published {number}"), TopicId("news", "b"))

    saved, sent = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(runtime.send_message, begin, A)
        await wait_all_tasks_blocked()
        nursery.start_soon(saved.run, runtime.save_state)
        await wait_all_tasks_blocked()
        await runtime.publish_message(note("from outside"), TopicId("news", "b"))
        nursery.start_soon(sent.run, lambda: runtime.send_message(note("sent"), B))
        await wait_all_tasks_blocked()
        assert not sent.done
        go.set()
        await wait_all_tasks_blocked()
        assert saved.value == {"actor/a": {}}
        await runtime.stop_when_idle()
        agent = await runtime.try_get_underlying_agent_instance(B, Actor)
        assert agent.notes["notes"] == [
            "from outside", "sent", "published 0", "published 1", "published 2"
        ]  # fmt: skip


# ST-09
@settings(max_examples=60)
@given(st.data())
def test_a_saved_state_is_consistent_whenever_it_is_saved(data: st.DataObject) -> None:
    """Money moves between accounts, in two messages; no saved state has more or less of it."""
    accounts = [AgentId("actor", key) for key in "abc"]
    transfers = data.draw(
        st.lists(st.tuples(*(st.sampled_from(accounts),) * 2, st.integers(0, 3)), max_size=12),
        label="transfers",
    )
    saves = data.draw(st.lists(st.integers(0, 20), max_size=6), label="saved at")

    async def put(agent: Actor, ctx: MessageContext) -> None:
        await loop.sleep(1)
        agent.notes["money"] = agent.notes.get("money", 0) + 1

    def transfer(target: AgentId, delay: int) -> Act:
        async def take(agent: Actor, ctx: MessageContext) -> None:
            agent.notes["money"] = agent.notes.get("money", 0) - 1
            await loop.sleep(delay)
            await agent.send_message(put, target)

        return take

    async def check(runtime: SingleThreadedAgentRuntime, at: int) -> None:
        await loop.sleep(at)
        state = await runtime.save_state()
        assert sum(saved.get("money", 0) for saved in state.values()) == 0

    async def send(runtime: SingleThreadedAgentRuntime, source: AgentId, act: Act) -> None:
        await runtime.send_message(act, source)

    async def main() -> None:
        async with await new_runtime() as runtime:
            runtime.start()
            async with loop.open_nursery() as nursery:
                for number, (source, target, delay) in enumerate(transfers):
                    if source != target:
                        nursery.start_soon(send, runtime, source, transfer(target, delay))
                    if number % 4 == 3:
                        await loop.sleep(1)
                for at in saves:
                    nursery.start_soon(check, runtime, at)

    loop.run(main, clock=MockClock(autojump_threshold=0))


# ST-09
async def test_nothing_is_handled_while_agents_are_asked(autojump_clock: MockClock) -> None:
    asking = 0

    class Slow(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            nonlocal asking
            asking += 1
            await loop.sleep(1)
            asking -= 1
            return self.notes

    async def look(agent: Actor, ctx: MessageContext) -> None:
        assert not asking
        agent.notes["looked"] = agent.notes.get("looked", 0) + 1
        await loop.sleep(0.3)
        assert not asking

    runtime = SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False)
    await runtime.register_factory("actor", Slow)
    await runtime.add_subscription(TypeSubscription("news", "actor"))
    async with loop.open_nursery() as nursery, runtime:
        for id in (A, B):
            await runtime.get(id, lazy=False)
        runtime.start()
        nursery.start_soon(runtime.save_state)
        for number in range(40):
            await runtime.publish_message(look, TopicId("news", "ab"[number % 2]))
            await loop.sleep(0.1)
            if number == 20:
                nursery.start_soon(runtime.save_state)
        await runtime.stop_when_idle()
        assert runtime.statistics().handled == 40


async def test_an_agent_that_is_being_made_elsewhere_handles_nothing_while_agents_are_asked(
    autojump_clock: MockClock,
) -> None:
    asking = 0

    class Slow(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            nonlocal asking
            asking += 1
            await loop.sleep(5)
            asking -= 1
            return self.notes

    async def factory() -> Slow:
        await loop.sleep(3)
        return Slow()

    async def look(agent: Actor, ctx: MessageContext) -> bool:
        return asking > 0

    looked = Outcome()
    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Slow)
        await runtime.register_factory("late", factory)
        await runtime.get(A, lazy=False)
        runtime.start()
        late = AgentId("late", "x")
        nursery.start_soon(Outcome().run, lambda: runtime.get(late, lazy=False))
        await wait_all_tasks_blocked()
        nursery.start_soon(looked.run, lambda: runtime.send_message(look, late))
        await wait_all_tasks_blocked()
        await runtime.save_state()
        await runtime.stop_when_idle()
        assert looked.value is False


async def test_no_agent_is_closed_while_agents_are_asked(autojump_clock: MockClock) -> None:
    asking = False

    class Slow(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            nonlocal asking
            asking = True
            await loop.sleep(5)
            asking = False
            return self.notes

        async def close(self) -> None:
            assert not asking

    leaving = Outcome()
    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Slow)
        runtime.start()
        for id in (A, B):
            await runtime.get(id, lazy=False)
        saved = Outcome()
        nursery.start_soon(saved.run, runtime.save_state)
        await loop.sleep(1)
        nursery.start_soon(leaving.run, lambda: runtime.deactivate(A))
        await loop.sleep(20)
        assert leaving.done
        assert leaving.error is None
        assert saved.value == {"actor/a": {}, "actor/b": {}}


async def test_saving_does_not_hang_on_a_handler_that_waits_for_room() -> None:
    go = loop.Event()

    async def publish_three(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()
        for number in range(3):
            await agent.publish_message(note(number), TopicId("news", "b"))

    saved = Outcome()
    async with loop.open_nursery() as nursery, await new_runtime(mailbox_size=1) as runtime:
        runtime.start()
        nursery.start_soon(runtime.send_message, publish_three, A)
        await wait_all_tasks_blocked()
        nursery.start_soon(saved.run, runtime.save_state)
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert saved.done
        await runtime.stop_when_idle()
        agent = await runtime.try_get_underlying_agent_instance(B, Actor)
        assert agent.notes == {"notes": [0, 1, 2]}


async def test_two_saves_at_once_see_the_same() -> None:
    outcomes = Outcome(), Outcome()
    go = loop.Event()

    async def begin(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()
        await note("done")(agent, ctx)

    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(runtime.send_message, begin, A)
        await wait_all_tasks_blocked()
        for outcome in outcomes:
            nursery.start_soon(outcome.run, runtime.save_state)
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert outcomes[0].value == outcomes[1].value == {"actor/a": {"notes": ["done"]}}
        await runtime.send_message(count, A)


async def test_a_save_never_sees_half_of_a_load(autojump_clock: MockClock) -> None:
    class Slow(Actor):
        async def load_state(self, state: Mapping[str, Any]) -> None:
            await loop.sleep(1)
            await super().load_state(state)

    outcomes = [Outcome() for _ in range(5)]
    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Slow)
        runtime.start()
        for id in (A, B):
            await runtime.get(id, lazy=False)

        async def load() -> None:
            for number in range(4):
                await runtime.load_state(
                    {"actor/a": {"number": number}, "actor/b": {"number": number}}
                )

        nursery.start_soon(load)
        for outcome in outcomes:
            await loop.sleep(1.5)
            nursery.start_soon(outcome.run, runtime.save_state)
    for outcome in outcomes:
        assert outcome.value["actor/a"] == outcome.value["actor/b"]


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("what", ["save_state", "load_state"])
async def test_what_an_agent_sends_while_its_state_is_looked_at_is_refused_and_not_hung(
    what: str, started: bool
) -> None:
    class Asking(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            await runtime.send_message(count, B)
            return self.notes

        async def load_state(self, state: Mapping[str, Any]) -> None:
            await runtime.send_message(count, B)

    async with SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Asking)
        await runtime.get(A, lazy=False)
        if started:
            runtime.start()
        with pytest.raises(UndeliverableException, match="actor/a is being saved or loaded"):
            await (runtime.save_state() if what == "save_state" else runtime.load_state(STATE))
        assert runtime.statistics().pending == 0


async def test_a_factory_that_sends_while_a_state_is_loaded_is_refused_before_start() -> None:
    async def factory() -> Actor:
        await runtime.send_message(count, AgentId("other", "x"))
        return Actor()

    async with SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", factory)
        await runtime.register_factory("other", Actor)
        with pytest.raises(UndeliverableException, match="actor/a is being saved or loaded"):
            await runtime.load_state(STATE)
        runtime.start()
        await runtime.load_state(STATE)  # now somebody can answer
        assert await runtime.send_message(count, A) == 4


async def test_a_cancelled_save_lets_messages_flow_again() -> None:
    go = loop.Event()

    async def begin(agent: Actor, ctx: MessageContext) -> None:
        await go.wait()

    async with loop.open_nursery() as nursery, await new_runtime() as runtime:
        runtime.start()
        nursery.start_soon(runtime.send_message, begin, A)
        await wait_all_tasks_blocked()
        with loop.move_on_after(0):
            await runtime.save_state()
        assert await runtime.send_message(count, B) == 1
        go.set()


async def test_start_during_a_save_waits_for_it(autojump_clock: MockClock) -> None:
    class Slow(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            before = dict(self.notes)
            await loop.sleep(1)
            assert self.notes == before
            return self.notes

    saved = Outcome()
    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Slow)
        await runtime.get(A, lazy=False)
        nursery.start_soon(saved.run, runtime.save_state)
        await wait_all_tasks_blocked()
        runtime.start()
        assert await runtime.send_message(count, A) == 1
        assert saved.value == {"actor/a": {}}


async def test_a_message_with_an_intervention_handler_is_part_of_what_is_finished() -> None:
    go = loop.Event()

    class Slow(DefaultInterventionHandler):
        async def on_send(
            self, message: Any, *, message_context: MessageContext, recipient: AgentId
        ) -> Any:
            await go.wait()
            return message

    saved = Outcome()
    runtime = SingleThreadedAgentRuntime(intervention_handlers=[Slow()])
    await Actor.register(runtime, "actor", Actor)
    async with loop.open_nursery() as nursery, runtime:
        runtime.start()
        nursery.start_soon(runtime.send_message, count, A)
        await wait_all_tasks_blocked()
        nursery.start_soon(saved.run, runtime.save_state)
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert saved.value == {"actor/a": {"count": 1}}


class Faulty(Actor):
    """Gives whatever the test wants as its state."""

    state: Any = None

    async def save_state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = type(self).state
        return state


# RT-27, RT-30
@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"a": {"b": [1, {2, 3}]}}, r"a.*b.*1.*set"),
        ({"when": math.nan}, "when.*(?i:nan)"),
        ({"raw": b"bytes"}, "raw.*bytes"),
        ({"nested": {3: "three"}}, "nested"),
        ({"text": "\ud800"}, "text"),
        ([1, 2], "must return a mapping, not list"),
        (None, "must return a mapping, not NoneType"),
    ],
)
async def test_a_state_that_json_cannot_express_is_an_error_naming_agent_and_path(
    state: Any, path: str
) -> None:
    class Agent(Faulty):
        pass

    Agent.state = state
    async with open_runtime() as runtime:
        await runtime.register_factory("faulty", Agent)
        id = AgentId("faulty", "x")
        await runtime.get(id, lazy=False)
        with pytest.raises(StateError, match=rf"faulty/x.*{path}"):
            await runtime.save_state()
        with pytest.raises(StateError, match=rf"faulty/x.*{path}"):
            await runtime.agent_save_state(id)
        await runtime.send_message(count, id)  # messages flow again


async def test_a_save_state_that_raises_lets_messages_flow_again() -> None:
    class Broken(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            raise ZeroDivisionError

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Broken)
        await runtime.send_message(count, A)
        with pytest.raises(ZeroDivisionError):
            await runtime.save_state()
        assert await runtime.send_message(count, A) == 2


# GAP-18
async def test_an_agent_without_save_state_gives_an_empty_one_and_a_warning() -> None:
    class Plain(BaseAgent):
        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            return message

    async with open_runtime() as runtime:
        await runtime.register_factory("plain", lambda: Plain("plain"))
        await runtime.get("plain", "x", lazy=False)
        with pytest.warns(UserWarning, match="does not implement save_state"):
            assert await runtime.save_state() == {"plain/x": {}}


# --- loading


# ST-10, RT-28, GAP-19
async def test_loading_makes_the_agents_that_the_state_names() -> None:
    async with await new_runtime() as runtime:
        state = {"actor/a": {"count": 3}, "actor/with/slash": {"count": 5}}
        await runtime.load_state(state)
        assert runtime.statistics().agents == 2
        runtime.start()
        assert await runtime.send_message(count, A) == 4
        assert await runtime.send_message(count, AgentId("actor", "with/slash")) == 6


# ST-10
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-9, 9)
                | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=4,
            ),
            max_size=3,
        ),
        max_size=4,
    )
)
@settings(max_examples=40)
def test_what_was_saved_can_be_loaded_elsewhere(states: dict[str, dict[str, Any]]) -> None:
    async def main() -> None:
        one, two = await new_runtime(), await new_runtime()
        saved = {}
        for key, state in states.items():
            try:
                id = AgentId("actor", key)
            except ValueError:
                continue
            saved[str(id)] = state
        await one.load_state(saved)
        text = json.dumps(await one.save_state())
        await two.load_state(json.loads(text))
        assert await two.save_state() == saved

    loop.run(main)


# ST-10
async def test_unknown_types_are_listed_and_nothing_is_loaded() -> None:
    async with await new_runtime() as runtime:
        state = {"actor/a": {"count": 3}, "who/x": {}, "what/y": {}, "who/z": {}}
        with pytest.raises(StateError, match=r"not registered: what, who$"):
            await runtime.load_state(state)
        assert runtime.statistics().agents == 0


# ST-10
async def test_an_unknown_instance_is_an_error_and_nothing_is_loaded() -> None:
    agent = Actor()
    async with await new_runtime() as runtime:
        await runtime.register_agent_instance(agent, AgentId("instance", "x"))
        state = {"actor/a": {"count": 3}, "instance/x": {"count": 4}, "instance/y": {}}
        with pytest.raises(StateError, match="instance/y"):
            await runtime.load_state(state)
        assert runtime.statistics().agents == 1
        assert agent.notes == {}


# RT-28
@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (None, "NoneType"),
        ([], "list"),
        ("actor/a", "str"),
        ({"no slash": {}}, "no slash"),
        ({3: {}}, "3|int"),
        ({"actor/a": None}, "actor/a.*NoneType"),
        ({"actor/a": "text"}, "actor/a.*str"),
        ({"actor/a": [1]}, "actor/a.*list"),
    ],
)
async def test_a_state_that_is_not_ours_is_an_error_and_nothing_is_loaded(
    state: Any, problem: str
) -> None:
    async with await new_runtime() as runtime:
        if isinstance(state, dict):
            state = {"actor/b": {"count": 1}} | state
        with pytest.raises(StateError, match=problem):
            await runtime.load_state(state)
        assert runtime.statistics().agents == 0


# ST-10
async def test_agents_that_the_state_does_not_name_are_left_as_they_are() -> None:
    async with await new_runtime() as runtime:
        runtime.start()
        await runtime.send_message(count, B)
        await runtime.load_state({"actor/a": {"count": 3}})
        assert await runtime.save_state() == {"actor/a": {"count": 3}, "actor/b": {"count": 1}}


async def test_nothing_is_handled_while_a_state_is_loaded(autojump_clock: MockClock) -> None:
    loading = 0

    class Slow(Actor):
        async def load_state(self, state: Mapping[str, Any]) -> None:
            nonlocal loading
            loading += 1
            await loop.sleep(1)
            loading -= 1
            await super().load_state(state)

    async def look(agent: Actor, ctx: MessageContext) -> int:
        assert not loading
        return await count(agent, ctx)

    loaded, sent = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", Slow)
        runtime.start()
        state = {"actor/a": {"count": 3}, "actor/b": {"count": 5}}
        nursery.start_soon(loaded.run, lambda: runtime.load_state(state))
        await loop.sleep(0.5)
        nursery.start_soon(sent.run, lambda: runtime.send_message(look, B))
        await loop.sleep(5)
        assert loaded.error is None
        assert sent.value == 6


class SlowToSave(Actor):
    """Gives the state that it had five seconds ago."""

    async def save_state(self) -> Mapping[str, Any]:
        notes = dict(self.notes)
        await loop.sleep(5)
        return notes


async def test_no_agent_is_made_while_others_are_asked_for_their_states(
    autojump_clock: MockClock,
) -> None:
    async def send_on(agent: Actor, ctx: MessageContext) -> None:
        agent.notes["sent"] = 1
        await agent.send_message(note("received"), B)

    async def make_late() -> Actor:
        await runtime.send_message(send_on, A)
        return Actor()

    saved, got = Outcome(), Outcome()
    async with loop.open_nursery() as nursery, SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", SlowToSave)
        await runtime.register_factory("late", make_late)
        for id in (A, B):
            await runtime.get(id, lazy=False)
        runtime.start()
        nursery.start_soon(saved.run, runtime.save_state)
        await loop.sleep(1)
        nursery.start_soon(got.run, lambda: runtime.get(AgentId("late", "x"), lazy=False))
        await loop.sleep(30)
        assert saved.value == {"actor/a": {}, "actor/b": {}}
        assert got.done
        assert await runtime.agent_save_state(B) == {"notes": ["received"]}


async def test_a_request_of_another_runtime_waits_while_states_are_looked_at(
    autojump_clock: MockClock,
) -> None:
    async def pass_on(agent: Actor, ctx: MessageContext) -> None:
        await runtime.send_message(note("received"), B)

    saved, sent = Outcome(), Outcome()
    async with (
        loop.open_nursery() as nursery,
        SingleThreadedAgentRuntime() as runtime,
        await new_runtime() as other,
    ):
        await runtime.register_factory("actor", SlowToSave)
        for id in (A, B):
            await runtime.get(id, lazy=False)
        runtime.start()
        other.start()
        nursery.start_soon(saved.run, runtime.save_state)
        await loop.sleep(1)
        nursery.start_soon(sent.run, lambda: other.send_message(pass_on, A))
        await loop.sleep(30)
        assert saved.value == {"actor/a": {}, "actor/b": {}}
        assert sent.done
        assert sent.error is None


async def test_another_runtime_closes_no_agent_while_that_is_asked_for_its_state(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    class Slow(Actor):
        async def save_state(self) -> Mapping[str, Any]:
            await loop.sleep(5)
            log.append("saved")
            return {}

        async def close(self) -> None:
            log.append("closed")

    async def let_go(agent: Actor, ctx: MessageContext) -> None:
        await runtime.deactivate(A)

    saved = Outcome()
    async with (
        loop.open_nursery() as nursery,
        SingleThreadedAgentRuntime() as runtime,
        await new_runtime() as other,
    ):
        await runtime.register_factory("actor", Slow)
        await runtime.get(A, lazy=False)
        runtime.start()
        other.start()
        nursery.start_soon(saved.run, runtime.save_state)
        await loop.sleep(1)
        await other.send_message(let_go, A)
        assert log == ["saved", "closed"]


async def test_what_is_made_for_load_state_may_ask_the_handler_of_another_runtime_that_loads(
    autojump_clock: MockClock,
) -> None:
    async def make_late() -> Actor:
        await other.send_message(note("received"), A)
        return Actor()

    async def load(agent: Actor, ctx: MessageContext) -> None:
        await runtime.load_state({"late/x": {}})

    async with SingleThreadedAgentRuntime() as runtime, SingleThreadedAgentRuntime() as other:
        await runtime.register_factory("late", make_late)
        await other.register_factory("actor", Actor, max_concurrency=1)
        other.start()
        with loop.fail_after(10):
            await other.send_message(load, A)
        assert await other.agent_save_state(A) == {"notes": ["received"]}


async def test_a_load_state_that_raises_lets_messages_flow_again() -> None:
    class Broken(Actor):
        async def load_state(self, state: Mapping[str, Any]) -> None:
            raise ZeroDivisionError

    async with open_runtime() as runtime:
        await runtime.register_factory("actor", Broken)
        with pytest.raises(ZeroDivisionError):
            await runtime.load_state({"actor/a": {}})
        assert await runtime.send_message(count, A) == 1


# RT-28
@pytest.mark.parametrize("what", ["save_state", "load_state"])
async def test_saving_and_loading_all_from_inside_a_handler_is_refused(what: str) -> None:
    async def act(agent: Actor, ctx: MessageContext) -> None:
        if what == "save_state":
            await runtime.save_state()
        else:
            await runtime.load_state({})

    async with await new_runtime() as runtime:
        runtime.start()
        with pytest.raises(RuntimeError, match=rf"{what}\(\)"):
            await runtime.send_message(act, A)
        assert await runtime.send_message(count, A) == 1


# --- one agent


# RT-30, RT-31, ST-18
async def test_one_agent_s_state_can_be_saved_and_loaded_and_the_agent_is_made() -> None:
    async with await new_runtime() as runtime:
        assert await runtime.agent_save_state(A) == {}
        await runtime.agent_load_state(B, {"count": 7})
        runtime.start()
        assert await runtime.send_message(count, B) == 8
        assert await runtime.agent_save_state(B) == {"count": 8}
        for call in (
            lambda id: runtime.agent_save_state(id),
            lambda id: runtime.agent_load_state(id, {}),
        ):
            with pytest.raises(UnknownAgentType):
                await call(AgentId("unknown", "x"))


# RT-30
async def test_a_handler_may_save_one_agent_its_own_included() -> None:
    async def act(agent: Actor, ctx: MessageContext) -> Any:
        await count(agent, ctx)
        return [await runtime.agent_save_state(A), await runtime.agent_save_state(B)]

    async with await new_runtime() as runtime:
        runtime.start()
        assert await runtime.send_message(act, A) == [{"count": 1}, {}]


# RT-31
@pytest.mark.parametrize("state", [None, 3, [1]])
async def test_one_agent_s_state_must_be_a_mapping_to_be_loaded(state: Any) -> None:
    async with await new_runtime() as runtime:
        with pytest.raises(StateError, match=rf"actor/a.*{type(state).__name__}"):
            await runtime.agent_load_state(A, state)


# --- agents that were let go of


async def test_the_states_of_agents_that_were_let_go_of_are_saved_too(
    autojump_clock: MockClock,
) -> None:
    async with await new_runtime(idle_timeout=5) as runtime:
        runtime.start()
        await runtime.send_message(note("a"), A)
        await loop.sleep(6)
        await runtime.send_message(note("b"), B)
        assert runtime.statistics().agents == 1
        state = await runtime.save_state()
        assert state == {"actor/a": {"notes": ["a"]}, "actor/b": {"notes": ["b"]}}
        await runtime.send_message(note("more"), A)
        assert state["actor/a"] == {"notes": ["a"]}


async def test_loading_replaces_the_state_of_an_agent_that_was_let_go_of(
    autojump_clock: MockClock,
) -> None:
    async with await new_runtime(idle_timeout=5) as runtime:
        runtime.start()
        await runtime.send_message(count, A)
        await loop.sleep(6)
        assert runtime.statistics().agents == 0
        await runtime.load_state({"actor/a": {"count": 10}})
        assert await runtime.send_message(count, A) == 11
        await loop.sleep(6)
        assert await runtime.save_state() == {"actor/a": {"count": 11}}


async def test_a_failing_load_keeps_the_state_of_an_agent_that_was_let_go_of(
    autojump_clock: MockClock,
) -> None:
    fail = False

    def factory() -> Actor:
        if fail:
            raise ZeroDivisionError
        return Actor()

    async with SingleThreadedAgentRuntime() as runtime:
        await runtime.register_factory("actor", factory, idle_timeout=5)
        runtime.start()
        await runtime.send_message(count, A)
        await loop.sleep(6)
        fail = True
        with pytest.raises(ZeroDivisionError):
            await runtime.load_state({"actor/a": {"count": 10}})
        fail = False
        assert await runtime.send_message(count, A) == 2


@pytest.mark.parametrize("call", ["save_state", "load_state"])
async def test_an_agent_that_saves_or_loads_all_while_its_own_state_is_saved_is_refused(
    call: str,
) -> None:
    class Curious(BaseAgent):
        def __init__(self) -> None:
            super().__init__("wants to know the state of all")

        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            pass

        async def save_state(self) -> Mapping[str, Any]:
            await (self.runtime.load_state({}) if call == "load_state" else runtime.save_state())
            return {}

    async with open_runtime() as runtime:
        await Curious.register(runtime, "curious", Curious)
        await runtime.get(AgentId("curious", "x"), lazy=False)
        with pytest.raises(RuntimeError, match=f"{call}.* waits for running handlers"):
            await runtime.save_state()
        check_idle(runtime)
