from dataclasses import dataclass

import trio

from trio_agents import AgentId, MessageContext, RoutedAgent, message_handler, open_runtime


@dataclass
class Task:
    text: str


class Worker(RoutedAgent):
    @message_handler
    async def on_task(self, message: Task, ctx: MessageContext) -> Task:
        return Task(message.text.upper())


async def main() -> None:
    async with open_runtime() as runtime:
        await Worker.register(runtime, "worker", lambda: Worker("answers in capitals"))
        print(await runtime.send_message(Task("hello"), AgentId("worker", "default")))


trio.run(main)
