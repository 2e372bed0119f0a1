from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, cast

import anyio
import pytest

import trio_agents
import trio_agents.asyncio
from trio_agents import (
    EVENT_LOGGER_NAME,
    AgentId,
    AgentRuntime,
    CancellationToken,
    DefaultInterventionHandler,
    DropMessage,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    message_handler,
)
from trio_agents.exceptions import UnknownAgentType
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.logging import ToolCallEvent
from trio_agents.models import (
    AssistantMessage,
    CreateResult,
    FinishReasons,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    UserMessage,
)
from trio_agents.tool_agent import (
    InvalidToolArgumentsException,
    ToolAgent,
    ToolException,
    ToolExecutionException,
    ToolNotFoundException,
    TooManyToolCalls,
    tool_agent_caller_loop,
)
from trio_agents.tools import FunctionTool

from .scripted_client import USAGE, ScriptedClient

Open = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def open_runtime(backend: str) -> Open:
    return trio_agents.open_runtime if backend == "trio" else trio_agents.asyncio.open_runtime


def add(a: int, b: int = 1) -> int:
    return a + b


async def fail() -> None:
    raise LookupError("nothing found")


def validate() -> None:
    FunctionTool(add, "").args_type().model_validate({})


TOOLS = [FunctionTool(function, "") for function in (add, fail, validate)]
TOOL_AGENT = AgentId("tools", "default")
QUESTION = UserMessage(content="How much?", source="user")


async def register(runtime: Any, *more: FunctionTool) -> None:
    await ToolAgent.register(runtime, "tools", lambda: ToolAgent("Runs tools.", [*TOOLS, *more]))


def call(name: str, arguments: str = "{}", id: str = "1") -> FunctionCall:
    return FunctionCall(id=id, arguments=arguments, name=name)


def result(name: str, content: str, id: str = "1", *, is_error: bool) -> FunctionExecutionResult:
    return FunctionExecutionResult(content=content, name=name, call_id=id, is_error=is_error)


# TA-01 TL-16
async def test_a_call_is_answered_with_the_result(open_runtime: Open) -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        answer = await runtime.send_message(call("add", '{"a": 1}'), TOOL_AGENT)
        assert answer == result("add", "2", is_error=False)
        agent = await runtime.try_get_underlying_agent_instance(TOOL_AGENT, ToolAgent)
        assert agent.tools == TOOLS


async def test_the_event_of_a_call_names_the_tool_agent(
    open_runtime: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, EVENT_LOGGER_NAME)
    async with open_runtime() as runtime:
        await register(runtime)
        await runtime.send_message(call("add", '{"a": 1}'), TOOL_AGENT)
    [event] = [r.msg for r in caplog.records if isinstance(r.msg, ToolCallEvent)]
    assert (event.tool_name, event.result, event.agent_id) == ("add", "2", TOOL_AGENT)


# TL-16
async def test_no_arguments_at_all_are_none(open_runtime: Open) -> None:
    async with open_runtime() as runtime:
        await register(runtime, FunctionTool(lambda: "yes", "", name="ready"))
        answer = await runtime.send_message(call("ready", " "), TOOL_AGENT)
        assert answer.content == "yes"


# TA-04
@pytest.mark.parametrize(
    ("asked", "kind", "content"),
    [
        (
            call("nothing"),
            ToolNotFoundException,
            "There is no tool 'nothing'. The tools are: add, fail, validate.",
        ),
        (
            call("add", '{"a": '),
            InvalidToolArgumentsException,
            "The arguments of add are no JSON: Expecting value: line 1 column 7 (char 6).",
        ),
        (
            call("add", "[1]"),
            InvalidToolArgumentsException,
            "The arguments of add must be a JSON object, not list.",
        ),
        (
            call("add", '{"b": 1}'),
            InvalidToolArgumentsException,
            "arguments of add: a: Field required",
        ),
        (call("fail"), ToolExecutionException, "nothing found"),
        (call("validate"), ToolExecutionException, "arguments of add: a: Field required"),
    ],
    ids=["unknown", "no-json", "no-object", "invalid", "fails", "validates"],
)
async def test_a_call_that_fails_is_an_exception_that_says_why(
    open_runtime: Open, asked: FunctionCall, kind: type[ToolException], content: str
) -> None:
    async with open_runtime() as runtime:
        await register(runtime)
        with pytest.raises(ToolException) as caught:
            await runtime.send_message(asked, TOOL_AGENT)
    error = caught.value
    assert type(error) is kind
    assert (error.call_id, error.content, error.name) == ("1", content, asked.name)
    assert str(error) == content


def test_an_exception_survives_pickling_and_can_be_hashed() -> None:
    error = pickle.loads(pickle.dumps(ToolNotFoundException("1", "why", "name")))
    assert (error.call_id, error.content, error.name) == ("1", "why", "name")
    assert hash(error) is not None
    assert isinstance(error, Exception)


def test_what_is_no_tool_is_refused() -> None:
    schema: Any = TOOLS[0].schema
    with pytest.raises(TypeError, match=r"^tools: expected a Tool, not a schema"):
        ToolAgent("Runs tools.", [schema])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tools are called 'add'"):
        ToolAgent("Runs tools.", [FunctionTool(add, ""), FunctionTool(add, "")])


async def test_a_cancelled_call_is_no_result(
    open_runtime: Open, MessageCancelled: type[BaseException]
) -> None:
    token = CancellationToken()
    unwound = False

    async def wait() -> None:
        nonlocal unwound
        token.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            unwound = True

    async with open_runtime() as runtime:
        await register(runtime, FunctionTool(wait, ""))
        with pytest.raises(MessageCancelled):
            await runtime.send_message(call("wait"), TOOL_AGENT, cancellation_token=token)
        assert unwound
        assert (await runtime.send_message(call("add", '{"a": 1}'), TOOL_AGENT)).content == "2"


@dataclass
class Task:
    text: str


@dataclass
class Answer:
    text: str


class Assistant(RoutedAgent):
    """The agent of the documentation: it asks a model, which asks for tools."""

    def __init__(self, client: ScriptedClient, **options: Any) -> None:
        super().__init__("Uses tools.")
        self.client = client
        self.options = options
        self.said: list[LLMMessage] = []

    @message_handler
    async def handle_task(self, message: Task, ctx: MessageContext) -> Answer:
        self.said = await tool_agent_caller_loop(
            self,
            tool_agent_id=AgentId("tools", self.id.key),
            model_client=self.client,
            input_messages=[UserMessage(content=message.text, source="user")],
            tool_schema=[tool.schema for tool in TOOLS],
            cancellation_token=ctx.cancellation_token,
            **self.options,
        )
        content = self.said[-1].content
        assert isinstance(content, str)
        return Answer(content)


async def ask(runtime: Any, client: ScriptedClient, key: str = "default") -> Answer:
    await Assistant.register(runtime, "assistant", lambda: Assistant(client))
    answer = await runtime.send_message(Task("How much?"), AgentId("assistant", key))
    assert isinstance(answer, Answer)
    return answer


# TA-02 TA-03 TL-18 TL-19 TL-23
async def test_the_loop_goes_on_until_the_model_answers_with_text(open_runtime: Open) -> None:
    calls = [call("add", '{"a": 1}', "x")]
    more = [call("add", '{"a": 2, "b": 3}', "y")]
    client = ScriptedClient(calls, more, "5 in all.")
    async with open_runtime() as runtime:
        await register(runtime)
        assert await ask(runtime, client, "eu") == Answer("5 in all.")
        agent = await runtime.try_get_underlying_agent_instance(
            AgentId("assistant", "eu"), Assistant
        )
        # The tool agent shares the key.
        await runtime.try_get_underlying_agent_instance(AgentId("tools", "eu"), ToolAgent)
    assert agent.said == [
        AssistantMessage(content=calls, thought="I need a tool.", source="assistant"),
        FunctionExecutionResultMessage(content=[result("add", "2", "x", is_error=False)]),
        AssistantMessage(content=more, thought="I need a tool.", source="assistant"),
        FunctionExecutionResultMessage(content=[result("add", "5", "y", is_error=False)]),
        AssistantMessage(content="5 in all.", source="assistant"),
    ]
    assert client.asked == [[QUESTION], [QUESTION, *agent.said[:2]], [QUESTION, *agent.said[:4]]]
    assert client.tools == [[tool.schema for tool in TOOLS]] * 3
    assert None not in client.tokens


# TA-02
async def test_the_calls_of_one_answer_run_together_and_are_answered_in_their_order(
    open_runtime: Open,
) -> None:
    ended: list[str] = []
    second_ended = anyio.Event()

    async def first() -> str:
        await second_ended.wait()
        ended.append("first")
        return "1"

    async def second() -> str:
        ended.append("second")
        second_ended.set()
        return "2"

    client = ScriptedClient([call("first", id="a"), call("second", id="b")], "Done.")
    async with open_runtime() as runtime:
        await register(runtime, FunctionTool(first, ""), FunctionTool(second, ""))
        await ask(runtime, client)
    assert ended == ["second", "first"]
    assert client.asked[1][-1] == FunctionExecutionResultMessage(
        content=[
            result("first", "1", "a", is_error=False),
            result("second", "2", "b", is_error=False),
        ]
    )


# TA-04 TL-21 TL-22
async def test_a_call_that_fails_is_told_to_the_model(open_runtime: Open) -> None:
    client = ScriptedClient([call("fail"), call("nothing"), call("add", "{")], "Sorry.")
    async with open_runtime() as runtime:
        await register(runtime)
        assert await ask(runtime, client) == Answer("Sorry.")
    message = client.asked[1][-1]
    assert isinstance(message, FunctionExecutionResultMessage)
    assert [(item.is_error, item.content.partition(".")[0]) for item in message.content] == [
        (True, "nothing found"),
        (True, "There is no tool 'nothing'"),
        (
            True,
            "The arguments of add are no JSON: Expecting property name enclosed in double "
            "quotes: line 1 column 2 (char 1)",
        ),
    ]


def ended(reason: FinishReasons, *calls: FunctionCall) -> CreateResult:
    return CreateResult(finish_reason=reason, content=list(calls), usage=USAGE, cached=False)


@pytest.mark.parametrize(
    ("reason", "why"), [("length", "it was too long"), ("content_filter", "a filter stopped it")]
)
async def test_no_call_of_an_answer_that_was_cut_off_is_made(
    open_runtime: Open, reason: FinishReasons, why: str
) -> None:
    ran: list[str] = []

    def delete(path: str = "/") -> None:
        ran.append(path)

    calls = [call("delete", '{"path": "/tmp"}', "a"), call("delete", "", "b")]
    client = ScriptedClient(ended(reason, *calls), "Sorry.")
    async with open_runtime() as runtime:
        await register(runtime, FunctionTool(delete, ""))
        assert await ask(runtime, client) == Answer("Sorry.")
    assert ran == []
    content = f"The call of delete was not made: the answer was cut off, as {why}."
    assert client.asked[1][1:] == [
        AssistantMessage(content=calls, source="assistant"),
        FunctionExecutionResultMessage(
            content=[result("delete", content, id, is_error=True) for id in "ab"]
        ),
    ]


# Clients of others say whatever they like.
@pytest.mark.parametrize("reason", ["stop", "unknown"])
async def test_the_calls_of_an_answer_are_made_unless_it_was_cut_off(
    open_runtime: Open, reason: FinishReasons
) -> None:
    client = ScriptedClient(ended(reason, call("add", '{"a": 1}')), "2.")
    async with open_runtime() as runtime:
        await register(runtime)
        assert await ask(runtime, client) == Answer("2.")
    told = FunctionExecutionResultMessage(content=[result("add", "2", is_error=False)])
    assert client.asked[1][-1] == told


class Approval(DefaultInterventionHandler):
    """The recipe's: somebody is asked before a tool is run."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.seen: list[tuple[str, AgentId | None, AgentId]] = []

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any | type[DropMessage]:
        if not isinstance(message, FunctionCall):
            return message
        self.seen.append((message.arguments, message_context.sender, recipient))
        match self.answers[message.id]:
            case "deny":
                raise ToolException(message.id, "The user has denied it.", message.name)
            case "drop":
                return DropMessage
            case _:
                return message


# CB-09 TA-04 TA-05
async def test_a_tool_is_only_run_if_somebody_agrees(open_runtime: Open) -> None:
    approval = Approval({"a": "agree", "b": "deny", "c": "drop"})
    calls = [call("add", f'{{"a": {n}}}', id) for n, id in enumerate("abc")]
    client = ScriptedClient(calls, "Done.")
    async with open_runtime(intervention_handlers=[approval]) as runtime:
        await register(runtime)
        await ask(runtime, client)
    assert client.asked[1][-1] == FunctionExecutionResultMessage(
        content=[
            result("add", "1", "a", is_error=False),
            result("add", "The user has denied it.", "b", is_error=True),
            result("add", "The call of add was not allowed.", "c", is_error=True),
        ]
    )
    asker = AgentId("assistant", "default")
    assert sorted(approval.seen, key=str) == [
        ('{"a": 0}', asker, TOOL_AGENT),
        ('{"a": 1}', asker, TOOL_AGENT),
        ('{"a": 2}', asker, TOOL_AGENT),
    ]


class Breaking(ToolAgent):
    """A tool agent with faults of its own."""

    def __init__(self) -> None:
        super().__init__("Runs tools.", TOOLS)
        self.waiting = 0
        self.enough = anyio.Event()
        self.unwound: list[str] = []

    @message_handler
    async def handle_function_call(
        self, message: FunctionCall, ctx: MessageContext
    ) -> FunctionExecutionResult:
        self.waiting += 1
        if self.waiting == 2:
            self.enough.set()
        try:
            await self.enough.wait()
            if message.name == "wait":
                await anyio.sleep_forever()
        finally:
            self.unwound.append(message.name)
        raise RuntimeError(f"the fault of {message.name}")


async def test_any_other_failure_fails_the_loop_and_cancels_the_other_calls(
    open_runtime: Open,
) -> None:
    client = ScriptedClient([call("wait", id="a"), call("break", id="b")])
    async with open_runtime() as runtime:
        await Breaking.register(runtime, "tools", Breaking)
        with pytest.raises(RuntimeError, match="the fault of break"):
            await ask(runtime, client)
        agent = await runtime.try_get_underlying_agent_instance(TOOL_AGENT, Breaking)
    assert sorted(agent.unwound) == ["break", "wait"]


async def test_failures_at_the_same_time_are_a_group(open_runtime: Open) -> None:
    client = ScriptedClient([call("one", id="a"), call("other", id="b")])
    async with open_runtime() as runtime:
        await Breaking.register(runtime, "tools", Breaking)
        with pytest.raises(ExceptionGroup) as caught:
            await ask(runtime, client)
    assert sorted(map(str, caught.value.exceptions)) == ["the fault of one", "the fault of other"]


async def test_without_a_tool_agent_the_loop_fails(open_runtime: Open) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(UnknownAgentType):
            await ask(runtime, ScriptedClient([call("add")]))


class Liar(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Answers with something else.")

    @message_handler
    async def handle_function_call(self, message: FunctionCall, ctx: MessageContext) -> str:
        return "2"


async def test_an_agent_that_is_no_tool_agent_is_found_out(open_runtime: Open) -> None:
    async with open_runtime() as runtime:
        await Liar.register(runtime, "tools", Liar)
        with pytest.raises(TypeError, match="tools/default has answered a FunctionCall with str"):
            await ask(runtime, ScriptedClient([call("add")]))


async def loop(runtime: AgentRuntime, client: ScriptedClient, **options: Any) -> list[LLMMessage]:
    return await tool_agent_caller_loop(runtime, TOOL_AGENT, client, [QUESTION], TOOLS, **options)


async def test_a_function_among_the_tools_of_the_loop_is_refused(open_runtime: Open) -> None:
    client, function = ReplayChatCompletionClient(["none"]), cast("Any", add)
    async with open_runtime() as runtime:
        with pytest.raises(TypeError, match="not the function add: wrap it in FunctionTool"):
            await tool_agent_caller_loop(runtime, TOOL_AGENT, client, [QUESTION], [function])


async def test_a_runtime_can_be_the_caller(open_runtime: Open) -> None:
    client = ScriptedClient([call("add", '{"a": 1}')], "2.")
    async with open_runtime() as runtime:
        await register(runtime)
        *_, last = await loop(runtime, client, caller_source="me")
    assert last == AssistantMessage(content="2.", source="me")


@pytest.mark.parametrize("how_many", [1, 3])
async def test_a_cancelled_token_ends_the_loop_and_the_calls(
    open_runtime: Open, MessageCancelled: type[BaseException], how_many: int
) -> None:
    token = CancellationToken()
    started = unwound = 0

    async def wait() -> None:
        nonlocal started, unwound
        started += 1
        if started == how_many:
            token.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            unwound += 1

    client = ScriptedClient([call("wait", id=str(n)) for n in range(how_many)])
    async with open_runtime() as runtime:
        await register(runtime, FunctionTool(wait, ""))
        with pytest.raises(MessageCancelled):
            await loop(runtime, client, cancellation_token=token)
        assert unwound == how_many


async def test_a_scope_ends_the_loop_and_the_calls(open_runtime: Open) -> None:
    unwound = False

    async with open_runtime() as runtime:
        with anyio.CancelScope() as scope:

            async def wait() -> None:
                nonlocal unwound
                scope.cancel()
                try:
                    await anyio.sleep_forever()
                finally:
                    unwound = True

            await register(runtime, FunctionTool(wait, ""))
            await loop(runtime, ScriptedClient([call("wait")]))
        assert scope.cancelled_caught
        assert unwound


async def test_the_number_of_answers_can_be_limited(open_runtime: Open) -> None:
    calls = [call("add", '{"a": 1}')]
    async with open_runtime() as runtime:
        await register(runtime)
        with pytest.raises(TooManyToolCalls, match="still wants tools after 2 answers: add") as e:
            await loop(runtime, ScriptedClient(calls, calls, "Late."), max_iterations=2)
        assert [message.type for message in e.value.messages] == [
            "AssistantMessage",
            "FunctionExecutionResultMessage",
            "AssistantMessage",
        ]
        assert len(await loop(runtime, ScriptedClient(calls, "In time."), max_iterations=2)) == 3
        with pytest.raises(ValueError, match="at least 1"):
            await loop(runtime, ScriptedClient("Never."), max_iterations=0)
