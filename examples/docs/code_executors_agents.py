# docs/guides/code-executors.md: one agent writes code, another one runs it.

import re
from collections.abc import Iterator
from dataclasses import dataclass

import trio

from trio_agents import (
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    default_subscription,
    message_handler,
    open_runtime,
)
from trio_agents.code_executor import CodeBlock, CodeExecutor
from trio_agents.ext.code_executors.local import LocalCommandLineCodeExecutor


@dataclass
class Message:
    content: str


# [extract]
def extract_markdown_code_blocks(text: str) -> list[CodeBlock]:
    """Return the fenced blocks of *text*; one without a tag has the language ``""``."""
    fenced = re.finditer(
        r"^```[ \t]*([\w+-]*)[ \t]*\n(.*?)^```[ \t]*$", text, re.DOTALL | re.MULTILINE
    )
    return [CodeBlock(code, language) for language, code in (block.groups() for block in fenced)]


# [/extract]
# [writer]
@default_subscription
class Writer(RoutedAgent):
    """Asks a model for code, and shows it what came of it."""

    def __init__(self, model: Iterator[str]) -> None:
        super().__init__("writes code")
        self._model = model  # in place of a ChatCompletionClient, so that this runs offline

    @message_handler
    async def handle(self, message: Message, ctx: MessageContext) -> None:
        reply = next(self._model)
        print(f"writer: {reply}")
        await self.publish_message(Message(reply), DefaultTopicId())


# [/writer]
# [executor]
@default_subscription
class Executor(RoutedAgent):
    """Runs the code in a message, if there is any."""

    def __init__(self, code_executor: CodeExecutor) -> None:
        super().__init__("runs code")
        self._code_executor = code_executor

    @message_handler
    async def handle(self, message: Message, ctx: MessageContext) -> None:
        blocks = extract_markdown_code_blocks(message.content)
        if not blocks:
            return
        try:
            result = await self._code_executor.execute_code_blocks(blocks, ctx.cancellation_token)
        except ValueError as error:  # a language that is not run
            output = str(error)
        else:
            output = (result.output.splitlines() or ["(no output)"])[-1]
        print(f"executor: {output}")
        await self.publish_message(Message(output), DefaultTopicId())


# [/executor]
REPLIES = [
    "```python\nprint(sum(range(1, 11)) / 0)\n```",
    "I should not divide.\n```python\nprint(sum(range(1, 11)))\n```",
    "The sum is 55.",
]


# [main]
async def main() -> None:
    async with (
        LocalCommandLineCodeExecutor(timeout=10, sandbox=None) as code_executor,
        open_runtime() as runtime,
    ):
        await Writer.register(runtime, "writer", lambda: Writer(iter(REPLIES)))
        await Executor.register(runtime, "executor", lambda: Executor(code_executor))
        await runtime.publish_message(Message("Add up 1 to 10."), DefaultTopicId())
        await runtime.stop_when_idle()


# [/main]
if __name__ == "__main__":
    trio.run(main)

# Prints:
# writer: ```python
# print(sum(range(1, 11)) / 0)
# ```
# executor: ZeroDivisionError: division by zero
# writer: I should not divide.
# ```python
# print(sum(range(1, 11)))
# ```
# executor: 55
# writer: The sum is 55.
