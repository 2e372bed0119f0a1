"""Five message types are a contract between three agents: one codes, one executes, one reviews.

A rejected program goes back to the coder for another round. Plain functions stand where an
application would ask a model; the topic's source is the session, so sessions do not mix.
"""

# Rows: CON-07, CON-06, CON-04, SUB-15, ID-18

from collections.abc import Callable
from dataclasses import dataclass

import trio

import trio_agents as ta

PROGRAMS: dict[str, Callable[[int], int]] = {"double": lambda n: n + n, "square": lambda n: n * n}


@dataclass
class CodingTaskMsg:
    examples: dict[int, int]


@dataclass
class CodeGenMsg:
    program: str
    task: CodingTaskMsg


@dataclass
class ExecutionResultMsg:
    results: dict[int, int]
    code: CodeGenMsg


@dataclass
class ReviewMsg:
    wrong: list[int]
    code: CodeGenMsg


@dataclass
class CodingResultMsg:
    program: str


async def tell(agent: ta.BaseAgent, message: object) -> None:
    await agent.publish_message(message, ta.DefaultTopicId(type(message).__name__))


@ta.type_subscription("CodingTaskMsg")
@ta.type_subscription("ReviewMsg")
class Coder(ta.RoutedAgent):
    @ta.event
    async def begin(self, message: CodingTaskMsg, ctx: ta.MessageContext) -> None:
        await tell(self, CodeGenMsg("double", message))

    @ta.event
    async def improve(self, message: ReviewMsg, ctx: ta.MessageContext) -> None:
        print(f"{message.code.program} is wrong for {message.wrong}")
        await tell(self, CodeGenMsg("square", message.code.task))


@ta.type_subscription("CodeGenMsg")
class Executor(ta.RoutedAgent):
    @ta.event
    async def execute(self, message: CodeGenMsg, ctx: ta.MessageContext) -> None:
        results = {n: PROGRAMS[message.program](n) for n in message.task.examples}
        await tell(self, ExecutionResultMsg(results, message))


@ta.type_subscription("ExecutionResultMsg")
class Reviewer(ta.RoutedAgent):
    @ta.event
    async def review(self, message: ExecutionResultMsg, ctx: ta.MessageContext) -> None:
        expected = message.code.task.examples
        wrong = [n for n, result in message.results.items() if result != expected[n]]
        rejected, approved = ReviewMsg(wrong, message.code), CodingResultMsg(message.code.program)
        await tell(self, rejected if wrong else approved)


async def show(app: ta.ClosureContext, message: CodingResultMsg, ctx: ta.MessageContext) -> None:
    print(f"{app.id.key}: {message.program}")


async def main() -> None:
    async with ta.open_runtime() as runtime:
        await Coder.register(runtime, "coder", lambda: Coder("writes programs"))
        await Executor.register(runtime, "executor", lambda: Executor("runs programs"))
        await Reviewer.register(runtime, "reviewer", lambda: Reviewer("compares with examples"))
        await ta.ClosureAgent.register_closure(
            runtime, "app", show, subscriptions=lambda: [ta.DefaultSubscription("CodingResultMsg")]
        )
        task = CodingTaskMsg({2: 4, 3: 9})
        await runtime.publish_message(task, ta.TopicId("CodingTaskMsg", "session-1"))


trio.run(main)

# Prints:
# double is wrong for [3]
# session-1: square
