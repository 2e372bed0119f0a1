from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import anyio
import pytest
import sniffio

from trio_agents import (
    AgentId,
    CancellationToken,
    DefaultSubscription,
    DefaultTopicId,
    DropMessage,
    MessageContext,
)
from trio_agents.exceptions import MessageDroppedException, UndeliverableException
from trio_agents.testing import _scripted as scripted
from trio_agents.testing._probes import Probe
from trio_agents.testing._scripted import (
    Script,
    ScriptedAgent,
    ScriptedFactory,
    ScriptedInterventionHandler,
    as_act,
    blocks,
    by_type,
    calls,
    echoes,
    hangs,
    ignores_cancellation,
    publishes,
    raises,
    returns,
    sends,
    sleeps,
    swallows_cancellation,
    waits_for,
)
from trio_agents.testing._waiting import Gate, wait_all_tasks_blocked

from .harness import MessageCancelled, open_runtime

A = AgentId("scripted", "a")
B = AgentId("scripted", "b")


async def settle_in(runtime: Any, *script: object, **options: Any) -> None:
    await ScriptedAgent.register(runtime, "scripted", lambda: ScriptedAgent(*script), **options)


async def test_answers_serve_in_order_and_the_last_one_for_the_rest() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime, 1, KeyError, echoes())
        assert await runtime.send_message("x", A) == 1
        with pytest.raises(KeyError):
            await runtime.send_message("x", A)
        assert [await runtime.send_message(n, A) for n in (3, 4)] == [3, 4]


async def test_each_agent_is_at_its_own_place_of_the_script() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime, 1, 2)
        assert await runtime.send_message("x", A) == 1
        assert await runtime.send_message("x", B) == 1


async def test_a_message_that_is_an_act_is_done() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime, "scripted")
        assert await runtime.send_message(returns(5), A) == 5
        assert await runtime.send_message("x", A) == "scripted"


async def test_an_agent_without_a_script_answers_none() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime)
        assert await runtime.send_message("x", A) is None


async def test_a_sleep_takes_its_time_and_then_goes_on() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime)
        began = anyio.current_time()
        with pytest.raises(TimeoutError):
            await runtime.send_message(sleeps(60).then(raises(TimeoutError)), A)
        assert anyio.current_time() - began == pytest.approx(60)


async def test_who_hangs_does_so_until_cancelled() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime)
        with anyio.move_on_after(1e6) as scope:
            await runtime.send_message(hangs(), A)
        assert scope.cancelled_caught


async def test_a_gate_keeps_handlers_until_it_is_open() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        await settle_in(runtime)
        gate = Gate()
        tasks.start_soon(runtime.send_message, waits_for(gate), A)
        tasks.start_soon(runtime.send_message, waits_for(gate), A)
        await wait_all_tasks_blocked()
        assert (gate.waiting, repr(gate)) == (2, "<Gate closed, 2 waiting>")
        gate.open()
        await wait_all_tasks_blocked()
        assert (gate.waiting, repr(gate)) == (0, "<Gate open>")
        await gate.wait()


async def test_a_cancelled_wait_at_a_gate_is_forgotten() -> None:
    gate = Gate()
    with anyio.move_on_after(1):
        await gate.wait()
    assert gate.waiting == 0


async def test_an_act_that_ignores_cancellation_goes_on_to_its_end() -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        await settle_in(runtime)
        token = CancellationToken()
        answers: list[Any] = []
        act = ignores_cancellation(sleeps(30).then("ended"))

        async def send() -> None:
            answers.append(await runtime.send_message(act, A, cancellation_token=token))

        tasks.start_soon(send)
        await wait_all_tasks_blocked()
        began = anyio.current_time()
        token.cancel()
        await wait_all_tasks_blocked()
        assert answers == []
        await anyio.sleep(30.1)
        assert answers == ["ended"]
        assert anyio.current_time() - began == pytest.approx(30.1)


@pytest.mark.parametrize("times", [1, 3])
async def test_an_act_that_swallows_cancellation_is_done_once_more(times: int) -> None:
    async with open_runtime() as runtime, anyio.create_task_group() as tasks:
        await settle_in(runtime)
        token = CancellationToken()
        log: list[str] = []
        begun = calls(lambda message, ctx: log.append("begun"))
        act = swallows_cancellation(begun.then(sleeps(30)), times=times)

        async def send() -> None:
            with contextlib.suppress(*MessageCancelled):
                await runtime.send_message(act, A, cancellation_token=token)

        tasks.start_soon(send)
        await wait_all_tasks_blocked()
        token.cancel()
        await wait_all_tasks_blocked()
        # On trio each wait is cancelled again, on asyncio only the one that was under way.
        expected = times if sniffio.current_async_library() == "trio" else 1
        assert log == ["begun"] * (1 + expected)


async def test_swallowing_ends_after_so_many_times() -> None:
    act = swallows_cancellation(hangs(), times=3)
    assert act.name == "swallows_cancellation(hangs(), times=3)"
    with anyio.move_on_after(1) as scope:  # anyio, like trio, cancels again at each wait
        await act.do(call_of("x"))
    assert scope.cancelled_caught


async def test_who_blocks_keeps_all_others_from_running() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime)
        began = time.monotonic()
        at = anyio.current_time()
        await runtime.send_message(blocks(0.01), A)
        assert time.monotonic() - began >= 0.01
        assert anyio.current_time() - at < 0.01  # not a wait: the clock of the loop stood still


async def test_an_act_sends_and_publishes_as_its_agent() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime)
        probe = await Probe.register(
            runtime, "probe", subscriptions=lambda: [DefaultSubscription()]
        )
        probe.answer_with("reply")
        assert await runtime.send_message(sends("question", probe.id), A) == "reply"
        await probe.expect(str)
        assert probe.last.ctx.sender == A
        await runtime.send_message(publishes("news", DefaultTopicId()), B)
        await probe.expect(str, where=lambda text: text == "news")
        assert probe.last.ctx.sender == B


async def test_an_agent_sends_to_itself() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime, "me")
        assert await runtime.send_message(sends("who?"), A) == "me"


async def test_what_is_done_may_depend_on_the_type() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime, by_type({int: "a number", str: ValueError}))
        assert await runtime.send_message(1, A) == "a number"
        with pytest.raises(ValueError):  # noqa: PT011  # a class, raised without words
            await runtime.send_message("text", A)
        assert await runtime.send_message(1.5, A) is None


@pytest.mark.parametrize("error", ["text", None, int, 5])
def test_what_cannot_be_raised_is_refused_at_once(error: Any) -> None:
    with pytest.raises(TypeError, match="takes an exception or a class of exceptions, not "):
        raises(error)


async def test_a_function_sees_the_message_and_its_context() -> None:
    async def shout(message: str, ctx: MessageContext) -> str:
        return f"{message.upper()} {ctx.is_rpc}"

    async with open_runtime() as runtime:
        await settle_in(runtime, shout)
        assert await runtime.send_message("hey", A) == "HEY True"


async def test_state_is_saved_and_loaded() -> None:
    async with open_runtime() as runtime:
        await settle_in(runtime)
        await runtime.agent_load_state(A, {"n": 1})
        assert await runtime.agent_save_state(A) == {"n": 1}


async def test_saving_loading_and_closing_follow_a_script() -> None:
    log: list[Any] = []

    def note(message: Any, ctx: Any) -> None:
        log.append(message)

    agent = ScriptedAgent(on_save=returns({"n": 2}), on_load=note, on_close=raises(OSError))
    with pytest.RaisesGroup(OSError):
        async with open_runtime() as runtime:
            await agent.register_instance(runtime, A)
            assert await runtime.agent_save_state(A) == {"n": 2}
            await runtime.agent_load_state(A, {"n": 3})
    assert log == [{"n": 3}]
    assert agent.closed == 1


async def test_a_factory_fails_hangs_and_then_makes_agents() -> None:
    factory = ScriptedFactory(OSError, sleeps(5))
    async with open_runtime() as runtime:
        await ScriptedAgent.register(runtime, "scripted", factory)
        with pytest.raises(OSError):  # noqa: PT011  # a class, raised without words
            await runtime.send_message("x", A)
        began = anyio.current_time()
        assert await runtime.send_message(returns(1), A) == 1
        assert anyio.current_time() - began == pytest.approx(5)
        assert factory.calls == 2
        assert [agent.id for agent in factory.made] == [A]


async def test_a_factory_gives_what_is_no_agent() -> None:
    async with open_runtime() as runtime:
        await runtime.register_factory("scripted", ScriptedFactory(returns("no agent")))
        with pytest.raises(TypeError):
            await runtime.send_message("x", A)


async def test_a_factory_re_enters() -> None:
    factory = ScriptedFactory(sends("myself"))
    async with open_runtime() as runtime:
        await ScriptedAgent.register(runtime, "scripted", factory)
        with pytest.raises((RuntimeError, UndeliverableException)):
            await runtime.send_message("x", A)
        assert factory.calls == 1


async def test_a_factory_makes_agents_of_your_own() -> None:
    async def make() -> ScriptedAgent:
        return ScriptedAgent("mine")

    async with open_runtime() as runtime:
        await ScriptedAgent.register(runtime, "scripted", ScriptedFactory(make=make))
        assert await runtime.send_message("x", A) == "mine"


async def test_an_intervention_handler_follows_its_scripts() -> None:
    handler = ScriptedInterventionHandler(
        on_send=Script(returns(DropMessage), ValueError, sleeps(1).then(echoes()), "changed"),
        on_response=Script(echoes(), lambda reply, ctx: f"<{reply}>"),
    )
    async with open_runtime(intervention_handlers=[handler]) as runtime:
        await settle_in(runtime, echoes())
        with pytest.raises(MessageDroppedException):
            await runtime.send_message("a", A)
        with pytest.raises(ValueError):  # noqa: PT011  # a class, raised without words
            await runtime.send_message("b", A)
        assert await runtime.send_message("c", A) == "c"
        assert await runtime.send_message("d", A) == "<changed>"


async def test_an_intervention_handler_passes_on_by_default() -> None:
    async with open_runtime(intervention_handlers=[ScriptedInterventionHandler()]) as runtime:
        await settle_in(runtime, echoes())
        probe = await Probe.register(
            runtime, "probe", subscriptions=lambda: [DefaultSubscription()]
        )
        assert await runtime.send_message("a", A) == "a"
        await runtime.publish_message("b", DefaultTopicId())
        assert await probe.expect(str) == "b"


async def test_an_intervention_handler_is_no_agent() -> None:
    handler = ScriptedInterventionHandler(on_send=sends("x", B))
    async with open_runtime(intervention_handlers=[handler]) as runtime:
        await settle_in(runtime)
        with pytest.raises(RuntimeError, match="an intervention handler is none"):
            await runtime.send_message("a", A)


def call_of(message: Any) -> Any:
    from trio_agents.testing._scripted import Call

    return Call(message, None, None, None)


def test_an_act_prints_as_it_was_written() -> None:
    class Rude(Exception):
        def __repr__(self) -> str:
            raise KeyError

    acts = [
        returns(1),
        raises(ValueError),
        raises(ValueError("x")),
        raises(Rude()),
        hangs().then(5),
        by_type({int: KeyError}),
        ignores_cancellation(sleeps(1.5)),
        sends("x", B),
        calls(call_of),
    ]
    assert [repr(act) for act in acts] == [
        "returns(1)",
        "raises(ValueError)",
        "raises(ValueError('x'))",
        "raises(<test_an_act_prints_as_it_was_written.<locals>.Rude whose repr raises KeyError>)",
        "hangs().then(returns(5))",
        "by_type({int: raises(KeyError)})",
        "ignores_cancellation(sleeps(1.5))",
        "sends('x', AgentId(type='scripted', key='b'))",
        "calls(call_of)",
    ]
    assert repr(Script(1, hangs())) == "Script(returns(1), hangs())"


def test_what_is_no_act_is_read_as_one() -> None:
    assert as_act(int).name == "returns(<class 'int'>)"
    assert as_act(KeyboardInterrupt).name == "raises(KeyboardInterrupt)"
    assert as_act(print).name == "calls(print)"


async def test_a_gate_is_opened_by_another_thread() -> None:
    gate = Gate()
    with anyio.CancelScope():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.wait)
            await wait_all_tasks_blocked()
            thread = threading.Thread(target=gate.open)
            thread.start()
            thread.join()


wrong: Any = scripted  # without its types


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: wrong.sleeps("x"), "seconds is how long it sleeps, not 'x'"),
        (lambda: wrong.blocks("x"), "seconds is how long it blocks, not 'x'"),
        (lambda: wrong.calls(5), r"calls\(\) takes a function of message and context, not 5"),
        (lambda: wrong.sends("x", "a/b"), r"sends\(\) takes an AgentId, not 'a/b'"),
        (lambda: wrong.publishes("x", "news"), r"publishes\(\) takes a TopicId, not 'news'"),
        (lambda: wrong.by_type([int]), r"by_type\(\) takes a mapping from classes to answers"),
        (lambda: wrong.by_type({"x": 1}), "a mapping whose keys are classes, not 'x'"),
    ],
)
def test_an_act_that_could_not_be_done_is_refused_where_it_is_made(make: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make()


@pytest.mark.parametrize("act", [sleeps, blocks])
def test_a_time_before_now_is_refused(act: Any) -> None:
    with pytest.raises(ValueError, match="0 or more, not -1"):
        act(-1)
