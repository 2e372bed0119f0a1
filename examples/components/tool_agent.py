"""A tool-using agent: it asks a model, and a tool agent runs what the model wants.

Each call of a tool is a message between the two. Nothing but messages ties them, so an intervention
handler sees every call, and could hold it up or refuse it.
"""

# Rows: TA-01, TA-02

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import trio
from _model import Model, run
from _server import Call, Reply

from trio_agents import (
    AgentId,
    DefaultInterventionHandler,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    message_handler,
    open_runtime,
)
from trio_agents.models import (
    ChatCompletionClient,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    SystemMessage,
    UserMessage,
)
from trio_agents.tool_agent import ToolAgent, tool_agent_caller_loop
from trio_agents.tools import FunctionTool, Tool

WIND = {"Enkhuizen": "4 from the west", "Stavoren": "5 from the west"}
MILES = {frozenset({"Enkhuizen", "Stavoren"}): 12}


# [tools]
async def wind(
    place: Annotated[str, "a town on the coast"], day: Literal["Saturday", "Sunday"]
) -> str:
    await trio.sleep(0.1)  # a service is asked
    if place not in WIND:
        raise LookupError(f"no station in {place}")
    return f"{place}, {day}: {WIND[place]}"


async def distance(start: str, end: str) -> str:
    await trio.sleep(0.1)
    return f"{MILES[frozenset({start, end})]} nautical miles"


TOOLS: list[Tool] = [
    FunctionTool(wind, "Get the forecast of the wind, in Beaufort."),
    FunctionTool(distance, "Get the distance between two towns by sea."),
]
# [/tools]


# [agent]
@dataclass
class Message:
    content: str


class Skipper(RoutedAgent):
    """Answers with the help of tools, which another agent with its key runs."""

    def __init__(self, client: ChatCompletionClient, tools: Sequence[Tool]) -> None:
        super().__init__("plans trips")
        self._client = client
        self._tools = tools

    @message_handler
    async def plan(self, message: Message, ctx: MessageContext) -> Message:
        said = await tool_agent_caller_loop(
            self,
            AgentId("tools", self.id.key),
            self._client,
            [
                SystemMessage(content="You plan sailing trips. Use the tools; never guess."),
                UserMessage(content=message.content, source="user"),
            ],
            self._tools,
            cancellation_token=ctx.cancellation_token,
            max_iterations=8,
        )
        for told in said:
            if isinstance(told, FunctionExecutionResultMessage):
                for result in told.content:
                    if result.is_error:
                        print(f"  (the model was told of a failure: {result.content})")
        answer = said[-1].content
        assert isinstance(answer, str)  # the loop ends with one
        return Message(answer)


# [/agent]
# [watch]
class Watch(DefaultInterventionHandler):
    """Shows the calls of tools as they pass."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        if isinstance(message, FunctionCall):
            print(f"  {message_context.sender} -> {recipient}: {message.name}({message.arguments})")
        return message

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        if isinstance(message, FunctionExecutionResult):
            print(f"  {sender} -> {recipient}: {message.content}")
        return message


# [/watch]
QUESTION = "Can I sail from Enkhuizen to Stavoren on Saturday, or rather to Atlantis?"
REPLIES = [
    Reply(
        "Can I sail",
        (
            Call("wind", {"place": "Stavoren", "day": "Saturday"}),
            Call("wind", {"place": "Atlantis", "day": "Saturday"}),
        ),
    ),
    Reply("no station in Atlantis", (Call("distance", {"start": "Enkhuizen", "end": "Stavoren"}),)),
    Reply(
        "12 nautical miles",
        "To Stavoren it is 12 nautical miles with 5 Beaufort from the west: go, with one reef. Of "
        "Atlantis nobody has a forecast.",
    ),
]


# [main]
async def main(model: Model) -> None:
    print(f"model: {model.name}")
    print(f"user: {QUESTION}")
    async with model.client() as client, open_runtime(intervention_handlers=[Watch()]) as runtime:
        await ToolAgent.register(runtime, "tools", lambda: ToolAgent("runs tools", TOOLS))
        await Skipper.register(runtime, "skipper", lambda: Skipper(client, TOOLS))
        answer = await runtime.send_message(Message(QUESTION), AgentId("skipper", "default"))
    print(f"skipper: {answer.content}")


if __name__ == "__main__":
    run(main, REPLIES)
# [/main]
