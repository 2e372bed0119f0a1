# docs/guides/intervention.md: an intervention handler that asks a person.

from dataclasses import dataclass
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from trio_agents import (
    AgentId,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    RoutedAgent,
    open_runtime,
    rpc,
)
from trio_agents.exceptions import MessageDroppedException


@dataclass(frozen=True)
class RunCommand:
    command: str


class Shell(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("runs commands (not really)")

    @rpc
    async def run(self, message: RunCommand, ctx: MessageContext) -> str:
        print(f"{self.id} runs {message.command}")
        return "ok"


# [gate]
class AskSomebody(DefaultInterventionHandler):
    """Commands wait until a person has agreed."""

    def __init__(self) -> None:
        self.questions, self._asked = trio.open_memory_channel[str](10)
        self._answers, self.answers = trio.open_memory_channel[bool](10)

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any | type[DropMessage]:
        if not isinstance(message, RunCommand) or not message.command.startswith("rm"):
            return message
        await self.questions.send(f"{recipient}: {message.command}?")
        return message if await self.answers.receive() else DropMessage

    async def person(self) -> None:
        async for question in self._asked:
            print(f"asked {question}")
            await trio.sleep(0.1)  # a person takes time
            await self._answers.send("/" not in question.partition(":")[2])


# [/gate]
# [main]
async def main() -> None:
    gate = AskSomebody()
    refused: list[str] = []

    async def run(command: str, key: str) -> None:
        try:
            await runtime.send_message(RunCommand(command), AgentId("shell", key))
        except MessageDroppedException:
            refused.append(command)

    async with trio.open_nursery() as people:
        people.start_soon(gate.person)
        async with (
            open_runtime(intervention_handlers=[gate]) as runtime,
            trio.open_nursery() as nursery,
        ):
            await Shell.register(runtime, "shell", Shell)
            for command, key in (("rm -r /", "a"), ("ls", "a"), ("date", "b")):
                nursery.start_soon(run, command, key)
                await wait_all_tasks_blocked()
        people.cancel_scope.cancel()
    print("refused:", refused)


# [/main]
trio.run(main)

# Prints:
# asked shell/a: rm -r /?
# shell/b runs date
# shell/a runs ls
# refused: ['rm -r /']
