# docs/guides/errors.md: who gets which exception.

import logging
from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    event,
    open_runtime,
    rpc,
    type_subscription,
)
from trio_agents.exceptions import CantHandleException, UnknownAgentType

logging.getLogger("autogen_core").setLevel(logging.CRITICAL)  # failures are printed below


@dataclass(frozen=True)
class Parse:
    text: str


@type_subscription("numbers")
class Parser(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("reads numbers")

    @rpc
    async def parse(self, message: Parse, ctx: MessageContext) -> int:
        return int(message.text)

    @event
    async def note(self, message: Parse, ctx: MessageContext) -> None:
        int(message.text)


# [request]
async def request() -> None:
    async with open_runtime(strict=True) as runtime:
        await Parser.register(runtime, "parser", Parser)
        parser = AgentId("parser", "x")
        try:
            await runtime.send_message(Parse("seven"), parser)
        except ValueError as exc:
            print(f"the handler's own exception: {exc}")
        try:
            await runtime.send_message(Parse("7"), AgentId("praser", "x"))
        except UnknownAgentType as exc:
            print(exc)
        try:
            await runtime.send_message("7", parser)
        except CantHandleException as exc:
            print(exc)


# [/request]
# [publication]
async def publication() -> None:
    try:
        async with open_runtime(ignore_unhandled_exceptions=False) as runtime:
            await Parser.register(runtime, "parser", Parser)
            for source, text in (("a", "7"), ("b", "seven"), ("c", "eight")):
                await runtime.publish_message(
                    Parse(text), TopicId("numbers", source), message_id=f"m-{source}"
                )
    except* ValueError as group:
        for exc in group.exceptions:
            print(exc)
            print(*exc.__notes__)


# [/publication]
# [letters]
async def dead_letters() -> None:
    async with open_runtime() as runtime:
        await runtime.publish_message(Parse("7"), TopicId("nobody", "x"))
        await runtime.stop_when_idle()
        for letter in runtime.statistics().dead_letters:
            print(f"{letter.message}: {letter.reason}")


# [/letters]
trio.run(request)
trio.run(publication)
trio.run(dead_letters)

# Prints:
# the handler's own exception: invalid literal for int() with base 10: 'seven'
# no factory for praser/x: register agent type 'praser' first (registered: parser)
# agent parser/x (Parser) has no handler for a direct message of type str
# invalid literal for int() with base 10: 'seven'
# raised in trio_agents by agent parser/b on topic numbers/b, message 'm-b'
# invalid literal for int() with base 10: 'eight'
# raised in trio_agents by agent parser/c on topic numbers/c, message 'm-c'
# Parse(text='7'): no subscription matches topic nobody/x
