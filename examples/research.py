"""For each subject a researcher of its own finds facts, and a writer of its own receives them.

The subject is the key of the researcher and the source of the topic it publishes to; the
subscription turns that source into the key of the writer. Nobody makes an agent: the runtime calls
the factories when the first message for a key is on its way.
"""

# Rows: PKG-13, ID-10, ID-16, CON-12, PKG-08

from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    open_runtime,
    rpc,
)

LIBRARY = {
    "glass frogs": ["sleep with their red blood cells in the liver", "live in trees"],
    "tea": ["is a camellia"],
}


@dataclass
class ResearchTopic:
    question: str


@dataclass
class ResearchFacts:
    facts: list[str]


class Researcher(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("finds facts about one subject")
        print(f"made {self.id}")

    @rpc
    async def find(self, message: ResearchTopic, ctx: MessageContext) -> None:
        facts = ResearchFacts(LIBRARY[self.id.key])
        await self.publish_message(facts, TopicId("research.facts.available", self.id.key))


class Writer(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("writes about one subject")
        print(f"made {self.id}")

    @event
    async def write(self, message: ResearchFacts, ctx: MessageContext) -> None:
        for fact in message.facts:
            print(f"{self.id.key}: {fact}")


async def main() -> None:
    async with open_runtime() as runtime:
        await Researcher.register(runtime, "researcher", Researcher)
        await Writer.register(runtime, "writer", Writer)
        await runtime.add_subscription(TypeSubscription("research.facts.available", "writer"))
        for subject in ("glass frogs", "tea", "glass frogs"):
            question = ResearchTopic(f"What is known about {subject}?")
            await runtime.send_message(question, AgentId("researcher", subject))


trio.run(main)

# Prints:
# made researcher/glass frogs
# made writer/glass frogs
# glass frogs: sleep with their red blood cells in the liver
# glass frogs: live in trees
# made researcher/tea
# made writer/tea
# tea: is a camellia
# glass frogs: sleep with their red blood cells in the liver
# glass frogs: live in trees
