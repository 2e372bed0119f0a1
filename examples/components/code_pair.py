"""A code-writing pair: one agent has a model write code, another runs it and says what came out.

They do not know each other. Code is published, and so is its output; whoever is subscribed gets it.
The exchange is over when nothing is under way any more, and that is what the runtime waits for.

Code runs in a sandbox. Where there is none, the prepared answers run without, since they stand
below; what a real model writes does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from _model import Model, run
from _server import CannotRun, Reply

from trio_agents import (
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    default_subscription,
    event,
    open_runtime,
)
from trio_agents.code_executor import CodeBlock, CodeExecutor
from trio_agents.ext.code_executors.local import (
    LocalCommandLineCodeExecutor,
    Sandbox,
    SandboxUnavailable,
)
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionClient,
    LLMMessage,
    SystemMessage,
    UserMessage,
)

ATTEMPTS = 4
FENCED = re.compile(r"^```python[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
PROMPT = (
    "You solve problems with Python, using nothing but the standard library. Answer with one block "
    "of code, fenced as ```python, that prints what you need to know. You are told what it has "
    "printed. When you know the solution, answer in words, without code."
)


# [messages]
@dataclass
class Problem:
    text: str


@dataclass
class Code:
    source: str


@dataclass
class Output:
    exit_code: int
    text: str


# [/messages]
# [writer]
@default_subscription
class Writer(RoutedAgent):
    """Has a model write code, and mend it, until it knows the solution."""

    def __init__(self, client: ChatCompletionClient) -> None:
        super().__init__("writes code")
        self._client = client
        self._said: list[LLMMessage] = [SystemMessage(content=PROMPT)]
        self._attempts = 0

    @event
    async def begin(self, message: Problem, ctx: MessageContext) -> None:
        await self._go_on(message.text, ctx)

    @event
    async def learn(self, message: Output, ctx: MessageContext) -> None:
        if self._attempts == ATTEMPTS:
            print(f"writer: I give up after {ATTEMPTS} attempts.")
            return
        await self._go_on(f"exit code {message.exit_code}, output:\n{message.text}", ctx)

    async def _go_on(self, told: str, ctx: MessageContext) -> None:
        self._said.append(UserMessage(content=told, source="user"))
        result = await self._client.create(self._said, cancellation_token=ctx.cancellation_token)
        assert isinstance(result.content, str)  # it has no tools to ask for
        self._said.append(AssistantMessage(content=result.content, source="writer"))
        print(f"writer: {result.content}")
        if code := FENCED.search(result.content):
            self._attempts += 1
            await self.publish_message(Code(code[1]), DefaultTopicId())


# [/writer]
# [executor]
@default_subscription
class Executor(RoutedAgent):
    """Runs code and publishes what came out."""

    def __init__(self, code_executor: CodeExecutor) -> None:
        super().__init__("runs code")
        self._code_executor = code_executor

    @event
    async def execute(self, message: Code, ctx: MessageContext) -> None:
        result = await self._code_executor.execute_code_blocks(
            [CodeBlock(message.source, "python")], ctx.cancellation_token
        )
        text = result.output.strip()
        print(f"executor: exit code {result.exit_code}: {(text.splitlines() or ['nothing'])[-1]}")
        await self.publish_message(Output(result.exit_code, text), DefaultTopicId())


# [/executor]
QUESTION = "How often is the 13th of a month a Friday from 2027 to 2030?"
ONCE_MORE = """\
The module is called calendar, and its FRIDAY has to be compared with a weekday.
```python
import calendar

dates = [(y, m) for y in range(2027, 2031) for m in range(1, 13)]
print(sum(calendar.weekday(y, m, 13) == calendar.FRIDAY for y, m in dates), "Fridays")
```"""
REPLIES = [
    Reply("How often is", "```python\nimport calender\n\nprint(calender.fridays(2027, 2030))\n```"),
    Reply("No module named 'calender'", ONCE_MORE),
    Reply("exit code 0", "From 2027 to 2030 the 13th is a Friday 6 times."),
]


# [sandbox]
async def executor_for(model: Model) -> LocalCommandLineCodeExecutor:
    """Make an executor with a sandbox, or without one for the prepared answers."""
    executor = LocalCommandLineCodeExecutor(timeout=20, sandbox=Sandbox())
    try:
        await executor.start()
    except SandboxUnavailable as error:
        reason = str(error)
    else:
        print("code runs in a sandbox")
        return executor
    await executor.stop()
    if not model.is_prepared:
        raise CannotRun(f"What {model.name} writes does not run here: {reason}")
    print(f"code runs without a sandbox: {reason}")
    return LocalCommandLineCodeExecutor(timeout=20, sandbox=None)


# [/sandbox]
# [main]
async def main(model: Model) -> None:
    print(f"model: {model.name}")
    async with (
        model.client() as client,
        await executor_for(model) as code_executor,
        # Nobody waits for an answer to a publication. So that a failure is not only logged:
        open_runtime(ignore_unhandled_exceptions=False) as runtime,
    ):
        await Writer.register(runtime, "writer", lambda: Writer(client))
        await Executor.register(runtime, "executor", lambda: Executor(code_executor))
        print(f"user: {QUESTION}")
        await runtime.publish_message(Problem(QUESTION), DefaultTopicId())
        await runtime.stop_when_idle()


if __name__ == "__main__":
    run(main, REPLIES)
# [/main]
