"""AgentChat's teams on `AutoGenRuntime`, as they come from the registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent, BaseChatAgent, SocietyOfMindAgent
from autogen_agentchat.base import Response, TaskResult
from autogen_agentchat.conditions import (
    ExternalTermination,
    MaxMessageTermination,
    TextMentionTermination,
)
from autogen_agentchat.messages import (
    BaseChatMessage,
    ModelClientStreamingChunkEvent,
    TextMessage,
)
from autogen_agentchat.teams import (
    BaseGroupChat,
    DiGraphBuilder,
    GraphFlow,
    MagenticOneGroupChat,
    RoundRobinGroupChat,
    SelectorGroupChat,
    Swarm,
)
from autogen_agentchat.teams._group_chat._sequential_routed_agent import SequentialRoutedAgent
from autogen_core import (
    AgentId,
    AgentRuntime,
    CancellationToken,
    FunctionCall,
    MessageContext,
    SingleThreadedAgentRuntime,
    rpc,
)
from autogen_core.models import CreateResult, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient

from trio_agents.interop._autogen_agents import (
    SequentialAdapter,
    StatelessAdapter,
    Translator,
    adapt_agent,
)
from trio_agents.interop.autogen import AutoGenRuntime

from .doers import on_asyncio, turns


class Speaker(BaseChatAgent):
    """Says what it has heard so far, when it may. It looks at no token."""

    def __init__(self, name: str, *, free: bool = True) -> None:
        super().__init__(name, "a speaker")
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.log: list[str] = []
        self.heard: list[str] = []
        if free:
            self.go.set()

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage,)

    async def on_messages(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> Response:
        self.heard += [message.to_text() for message in messages]
        self.log.append("began")
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        self.log.append("spoke")
        text = f"{self.name} after {len(self.heard)}"
        return Response(chat_message=TextMessage(content=text, source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        self.heard.clear()

    async def on_pause(self, cancellation_token: CancellationToken) -> None:
        self.log.append("paused")

    async def on_resume(self, cancellation_token: CancellationToken) -> None:
        self.log.append("resumed")

    async def save_state(self) -> Mapping[str, Any]:
        return {"heard": list(self.heard)}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.heard = list(state["heard"])


MODEL = ModelInfo(
    vision=False,
    function_calling=True,
    json_output=True,
    family="unknown",
    structured_output=False,
    multiple_system_messages=True,
)


def model(*answers: str | CreateResult) -> ReplayChatCompletionClient:
    return ReplayChatCompletionClient(list(answers), model_info=MODEL)


def assistant(name: str, *answers: str | CreateResult, **options: Any) -> AssistantAgent:
    return AssistantAgent(name, model_client=model(*answers), **options)


def call(function: str) -> CreateResult:
    return CreateResult(
        finish_reason="function_calls",
        content=[FunctionCall(id="1", name=function, arguments="{}")],
        usage=RequestUsage(prompt_tokens=0, completion_tokens=0),
        cached=False,
    )


def round_robin(runtime: AgentRuntime) -> BaseGroupChat:
    participants: list[Any] = [assistant("a", "one"), assistant("b", "two")]
    return RoundRobinGroupChat(participants, max_turns=2, runtime=runtime)


def selector(runtime: AgentRuntime) -> BaseGroupChat:
    participants: list[Any] = [assistant("a", "one"), assistant("b", "two")]
    client = model("b", "a")
    return SelectorGroupChat(participants, model_client=client, max_turns=2, runtime=runtime)


def swarm(runtime: AgentRuntime) -> BaseGroupChat:
    participants: list[Any] = [
        assistant("a", call("transfer_to_b"), handoffs=["b"]),
        assistant("b", "that is all, STOP"),
    ]
    condition = TextMentionTermination("STOP")
    return Swarm(participants, termination_condition=condition, runtime=runtime)


def graph_flow(runtime: AgentRuntime) -> BaseGroupChat:
    a, b, c = Speaker("a"), Speaker("b"), Speaker("c")
    return graph_of(runtime, a, b, c)


def graph_of(runtime: AgentRuntime, a: Speaker, b: Speaker, c: Speaker) -> BaseGroupChat:
    """*a* and *b* speak at once, and then *c*."""
    graph = DiGraphBuilder().add_node(a).add_node(b).add_node(c).add_edge(a, c).add_edge(b, c)
    participants: list[Any] = [a, b, c]
    return GraphFlow(participants, graph=graph.build(), runtime=runtime)


def magentic_one(runtime: AgentRuntime) -> BaseGroupChat:
    def ledger(*, done: bool) -> str:
        answers = {
            "is_request_satisfied": done,
            "is_progress_being_made": True,
            "is_in_loop": False,
            "instruction_or_question": "go on",
            "next_speaker": "a",
        }
        return json.dumps({name: {"answer": a, "reason": "so"} for name, a in answers.items()})

    client = model("facts", "a plan", ledger(done=False), ledger(done=True), "the answer")
    return MagenticOneGroupChat([Speaker("a")], model_client=client, runtime=runtime)


def society_of_mind(runtime: AgentRuntime) -> BaseGroupChat:
    inner: Any = RoundRobinGroupChat(
        [Speaker("i"), Speaker("j")], max_turns=2, runtime=runtime, name="inner"
    )
    mind = SocietyOfMindAgent("mind", team=inner, model_client=model("in short"))
    return RoundRobinGroupChat([mind], max_turns=1, runtime=runtime)


def nested(runtime: AgentRuntime) -> BaseGroupChat:
    inner = RoundRobinGroupChat(
        [Speaker("i"), Speaker("j")], max_turns=2, runtime=runtime, name="inner"
    )
    return RoundRobinGroupChat([inner, Speaker("k")], max_turns=2, runtime=runtime)


Make = Callable[[AgentRuntime], BaseGroupChat]
TEAMS: list[Make] = [
    round_robin,
    selector,
    swarm,
    graph_flow,
    magentic_one,
    society_of_mind,
    nested,
]


def name_of(make: Make) -> str:
    return make.__name__


def texts(result: TaskResult) -> list[tuple[str, str]]:
    return [(message.source, message.to_text()) for message in result.messages]


# --- every kind of team


@pytest.mark.parametrize("make", TEAMS, ids=name_of)
@on_asyncio
async def test_a_team_says_what_it_says_on_autogens_own_runtime(make: Make) -> None:
    results: list[TaskResult] = []
    for runtime in (AutoGenRuntime(), SingleThreadedAgentRuntime()):
        runtime.start()
        results.append(await make(runtime).run(task="talk"))
        await runtime.stop_when_idle()
    ours, theirs = results
    assert len(ours.messages) > 1
    assert texts(ours) == texts(theirs)
    assert ours.stop_reason == theirs.stop_reason


@pytest.mark.parametrize("make", TEAMS, ids=name_of)
@on_asyncio
async def test_a_team_leaves_nothing_unfinished_and_nothing_failed(make: Make) -> None:
    async with AutoGenRuntime(ignore_unhandled_exceptions=False) as runtime:
        runtime.start()
        await make(runtime).run(task="talk")
        await runtime.stop_when_idle()
        statistics = runtime.statistics()
    assert (statistics.pending, statistics.failed, statistics.cancelled) == (0, 0, 0)


@pytest.mark.parametrize("make", TEAMS, ids=name_of)
@on_asyncio
async def test_a_teams_state_goes_through_json_into_a_new_team(make: Make) -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        team = make(runtime)
        await team.run(task="talk")
        state = json.loads(json.dumps(await team.save_state()))
        other = make(runtime)
        await other.load_state(state)
        assert json.loads(json.dumps(await other.save_state())) == state


@pytest.mark.parametrize("make", TEAMS, ids=name_of)
@on_asyncio
async def test_a_team_can_be_reset(make: Make) -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        team = make(runtime)
        await team.run(task="talk")
        await team.reset()
        await runtime.stop_when_idle()
        assert runtime.statistics().failed == 0


@on_asyncio
async def test_twenty_teams_at_once_in_one_runtime_keep_apart() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        speakers = [(Speaker(f"a{n}", free=False), Speaker(f"b{n}")) for n in range(20)]
        teams = [RoundRobinGroupChat(list(s), max_turns=2, runtime=runtime) for s in speakers]
        runs = [asyncio.create_task(team.run(task=f"task {n}")) for n, team in enumerate(teams)]
        for first, _ in speakers:
            await first.began.wait()  # all of them are in the middle now
        for first, _ in reversed(speakers):
            first.go.set()
        results = await asyncio.gather(*runs)
    assert [texts(result) for result in results] == [
        [("user", f"task {n}"), (f"a{n}", f"a{n} after 1"), (f"b{n}", f"b{n} after 2")]
        for n in range(20)
    ]


# --- one run after the other


@on_asyncio
async def test_a_team_goes_on_after_its_termination() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        team = RoundRobinGroupChat(
            [Speaker("a"), Speaker("b")],
            termination_condition=MaxMessageTermination(2),
            runtime=runtime,
        )
        assert texts(await team.run(task="x")) == [("user", "x"), ("a", "a after 1")]
        assert texts(await team.run()) == [("b", "b after 2"), ("a", "a after 2")]


@on_asyncio
async def test_a_team_is_ended_from_outside_and_goes_on() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        end = ExternalTermination()
        a, b = Speaker("a", free=False), Speaker("b")
        team = RoundRobinGroupChat([a, b], termination_condition=end, max_turns=2, runtime=runtime)
        run = asyncio.create_task(team.run(task="x"))
        await a.began.wait()
        end.set()
        a.go.set()
        result = await run
        assert (texts(result)[1:], result.stop_reason) == (
            [("a", "a after 1")],
            "External termination requested",
        )
        assert texts(await team.run())[0] == ("b", "b after 2")


@on_asyncio
async def test_a_team_is_paused_and_resumed_while_a_participant_speaks() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        a = Speaker("a", free=False)
        team = RoundRobinGroupChat([a], max_turns=1, runtime=runtime)
        run = asyncio.create_task(team.run(task="x"))
        await a.began.wait()
        await team.pause()
        await team.resume()
        a.go.set()
        await run
    assert a.log == ["began", "paused", "resumed", "spoke"]


@on_asyncio
async def test_a_tool_is_cancelled_with_its_team() -> None:
    log: list[str] = []
    began = asyncio.Event()

    async def search() -> str:
        """Search for ever."""
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        return "found"

    async with AutoGenRuntime() as runtime:
        runtime.start()
        participant = assistant("a", call("search"), "never said", tools=[search])
        team = RoundRobinGroupChat([participant], max_turns=1, runtime=runtime)
        token = CancellationToken()
        run = asyncio.create_task(team.run(task="x", cancellation_token=token))
        await began.wait()
        token.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await runtime.stop_when_idle()
    assert log == ["cancelled"]


@on_asyncio
async def test_a_team_goes_on_when_a_stopped_runtime_is_started_again() -> None:
    runtime = AutoGenRuntime()
    runtime.start()
    a, b = Speaker("a", free=False), Speaker("b")
    team = RoundRobinGroupChat([a, b], max_turns=2, runtime=runtime)
    run = asyncio.create_task(team.run(task="x"))
    await a.began.wait()
    stopping = asyncio.create_task(runtime.stop())
    await turns()
    a.go.set()
    await stopping
    assert not b.began.is_set()  # what was published meanwhile waits
    runtime.start()
    assert texts(await run) == [("user", "x"), ("a", "a after 1"), ("b", "b after 2")]
    await runtime.stop_when_idle()


@on_asyncio
async def test_a_new_team_goes_on_from_a_saved_state_in_another_runtime() -> None:
    async with AutoGenRuntime() as first:
        first.start()
        team = RoundRobinGroupChat([Speaker("a"), Speaker("b")], max_turns=1, runtime=first)
        await team.run(task="x")
        state = await team.save_state()
    async with AutoGenRuntime() as second:
        second.start()
        team = RoundRobinGroupChat([Speaker("a"), Speaker("b")], max_turns=1, runtime=second)
        await team.load_state(state)
        assert texts(await team.run()) == [("b", "b after 2")]


def test_a_team_may_be_made_without_a_loop_and_run_in_several() -> None:
    runtime = AutoGenRuntime()
    team = RoundRobinGroupChat([assistant("a", "one", "two")], max_turns=1, runtime=runtime)

    async def run() -> list[tuple[str, str]]:
        runtime.start()
        result = await team.run(task="x")
        await runtime.stop_when_idle()
        return texts(result)

    assert asyncio.run(run()) == [("user", "x"), ("a", "one")]
    assert asyncio.run(run()) == [("user", "x"), ("a", "two")]


# --- streams and failures


async def stream_of(team: BaseGroupChat) -> AsyncGenerator[Any, None]:
    async for item in team.run_stream(task="x"):
        yield item


@on_asyncio
async def test_a_stream_gives_each_message_as_it_is_said() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        a, b = Speaker("a"), Speaker("b", free=False)
        team = RoundRobinGroupChat([a, b], max_turns=2, runtime=runtime)
        stream = stream_of(team)
        assert (await anext(stream)).to_text() == "x"
        assert (await anext(stream)).to_text() == "a after 1"
        await b.began.wait()
        b.go.set()
        assert (await anext(stream)).to_text() == "b after 2"
        assert isinstance(await anext(stream), TaskResult)
        await stream.aclose()


@on_asyncio
async def test_a_stream_gives_the_chunks_of_a_model() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        participant = assistant("a", "three small words", model_client_stream=True)
        team = RoundRobinGroupChat([participant], max_turns=1, runtime=runtime)
        chunks = [
            item.content
            async for item in team.run_stream(task="x")
            if isinstance(item, ModelClientStreamingChunkEvent)
        ]
    assert "".join(chunks) == "three small words"
    assert len(chunks) > 1


@on_asyncio
async def test_a_participants_failure_comes_out_of_the_run() -> None:
    class Broken(Speaker):
        async def on_messages(
            self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
        ) -> Response:
            raise OSError("the model is down")

    async with AutoGenRuntime() as runtime:
        runtime.start()
        team = RoundRobinGroupChat([Broken("a")], max_turns=1, runtime=runtime)
        with pytest.raises(RuntimeError, match="OSError: the model is down"):
            await team.run(task="x")
        await runtime.stop_when_idle()


# --- cancellation


async def cancelled_in_the_middle(team: BaseGroupChat, *speakers: Speaker) -> None:
    """Run *team* until all of *speakers* have begun, and cancel it by its token."""
    token = CancellationToken()
    run = asyncio.create_task(team.run(task="x", cancellation_token=token))
    for speaker in speakers:
        await speaker.began.wait()
    await turns()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@on_asyncio
async def test_after_a_token_was_cancelled_no_participant_runs_on() -> None:
    runtime = AutoGenRuntime()
    runtime.start()
    a, b = Speaker("a", free=False), Speaker("b")
    await cancelled_in_the_middle(RoundRobinGroupChat([a, b], max_turns=2, runtime=runtime), a)
    a.go.set()
    await runtime.stop_when_idle()
    assert (a.log, b.log) == (["began", "cancelled"], [])


@on_asyncio
async def test_on_autogens_own_runtime_the_participant_runs_on() -> None:
    # The comparison for the test above: the same program, and only the runtime differs.
    runtime = SingleThreadedAgentRuntime()
    runtime.start()
    a, b = Speaker("a", free=False), Speaker("b")
    await cancelled_in_the_middle(RoundRobinGroupChat([a, b], max_turns=2, runtime=runtime), a)
    a.go.set()
    await runtime.stop_when_idle()
    assert a.log == ["began", "spoke"]


@on_asyncio
async def test_a_token_cancels_all_who_speak_at_once() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        a, b, c = Speaker("a", free=False), Speaker("b", free=False), Speaker("c")
        await cancelled_in_the_middle(graph_of(runtime, a, b, c), a, b)
        await runtime.stop_when_idle()
    assert (a.log, b.log, c.log) == (["began", "cancelled"], ["began", "cancelled"], [])


@on_asyncio
async def test_a_token_cancels_teams_inside_of_teams() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        i, j, k = Speaker("i", free=False), Speaker("j"), Speaker("k")
        inner = RoundRobinGroupChat([i, j], max_turns=2, runtime=runtime, name="inner")
        outer = RoundRobinGroupChat([inner, k], max_turns=2, runtime=runtime)
        await cancelled_in_the_middle(outer, i)
        await runtime.stop_when_idle()
    assert (i.log, j.log, k.log) == (["began", "cancelled"], [], [])


@on_asyncio
async def test_a_token_cancels_the_society_of_a_mind() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        i, j = Speaker("i", free=False), Speaker("j")
        inner: Any = RoundRobinGroupChat([i, j], max_turns=2, runtime=runtime, name="inner")
        mind = SocietyOfMindAgent("mind", team=inner, model_client=model("in short"))
        outer = RoundRobinGroupChat([mind], max_turns=1, runtime=runtime)
        await cancelled_in_the_middle(outer, i)
        await runtime.stop_when_idle()
    assert (i.log, j.log) == (["began", "cancelled"], [])


@on_asyncio
async def test_one_cancelled_team_of_twenty_leaves_the_others_alone() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        speakers = [Speaker(f"a{n}", free=False) for n in range(20)]
        token = CancellationToken()
        runs = [
            asyncio.create_task(
                RoundRobinGroupChat([speaker], max_turns=1, runtime=runtime).run(
                    task="x", cancellation_token=token if speaker is speakers[7] else None
                )
            )
            for speaker in speakers
        ]
        for speaker in speakers:
            await speaker.began.wait()
        token.cancel()
        for speaker in speakers:
            speaker.go.set()
        results = await asyncio.gather(*runs, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        n == 7 for n in range(20)
    ]


@on_asyncio
async def test_a_cancelled_task_with_a_runtimes_block_takes_the_team_along() -> None:
    a, b = Speaker("a", free=False), Speaker("b")

    async def main() -> None:
        async with AutoGenRuntime() as runtime:
            runtime.start()
            team = RoundRobinGroupChat([a, b], max_turns=2, runtime=runtime)
            async for _ in team.run_stream(task="x"):
                pass

    task = asyncio.create_task(main())
    await a.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (a.log, b.log) == (["began", "cancelled"], [])


@on_asyncio
async def test_a_cancelled_task_that_cancels_its_token_takes_the_team_along() -> None:
    # Without the token the participants would go on: a publication outlives its publisher.
    async with AutoGenRuntime() as runtime:
        runtime.start()
        a, b = Speaker("a", free=False), Speaker("b")
        team = RoundRobinGroupChat([a, b], max_turns=2, runtime=runtime)

        async def run() -> None:
            token = CancellationToken()
            try:
                await team.run(task="x", cancellation_token=token)
            finally:
                token.cancel()

        task = asyncio.create_task(run())
        await a.began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        a.go.set()
        await runtime.stop_when_idle()
    assert (a.log, b.log) == (["began", "cancelled"], [])


@on_asyncio
async def test_a_stop_with_a_deadline_cancels_the_participants() -> None:
    runtime = AutoGenRuntime()
    runtime.start()
    a = Speaker("a", free=False)
    team = RoundRobinGroupChat([a], max_turns=1, runtime=runtime)
    run = asyncio.create_task(team.run(task="x"))
    await a.began.wait()
    await runtime.stop(deadline=asyncio.get_running_loop().time())
    assert a.log == ["began", "cancelled"]
    run.cancel()
    with suppress(asyncio.CancelledError):
        await run


@on_asyncio
async def test_a_new_team_goes_on_where_a_cancelled_one_was() -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        a, b = Speaker("a"), Speaker("b", free=False)
        team = RoundRobinGroupChat([a, b], max_turns=2, runtime=runtime)
        await cancelled_in_the_middle(team, b)
        state = await team.save_state()
        b.go.set()
        # AgentChat's cancelled team still waits for its speaker, on any runtime.
        team = RoundRobinGroupChat([a, b], max_turns=2, runtime=runtime)
        await team.load_state(state)
        # It counts the one that was cancelled as having had its turn.
        assert texts(await team.run()) == [("a", "a after 1")]


@on_asyncio
async def test_a_team_can_be_reset_after_a_cancellation_in_line() -> None:
    # When it comes, b's answer waits in a's line behind the handler that speaks.
    async with AutoGenRuntime() as runtime:
        runtime.start()
        a, b, c = Speaker("a", free=False), Speaker("b"), Speaker("c")
        team = graph_of(runtime, a, b, c)
        await cancelled_in_the_middle(team, a, b)
        assert runtime.statistics().cancelled == 2
        await team.reset()
        await runtime.stop_when_idle()


class Manager(SequentialRoutedAgent):
    """Keeps no state, and has a line for words."""

    @rpc
    async def on_word(self, message: str, ctx: MessageContext) -> None: ...


def test_an_agent_without_a_state_stands_in_line_too() -> None:
    runtime = AutoGenRuntime()
    agent = Manager("a manager", [str])
    adapter = adapt_agent(agent, AgentId("manager", "a"), Translator(runtime))
    assert isinstance(adapter, SequentialAdapter)
    assert isinstance(adapter, StatelessAdapter)
    assert type(adapter).__name__ == "Manager"
