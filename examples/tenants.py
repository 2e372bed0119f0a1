"""Three ways to divide a system by topics: not at all, by the type of topic, by its source."""

# Rows: SUB-19, SUB-20, SUB-21, SUB-14, SUB-16, ID-16

from dataclasses import dataclass

import trio

from trio_agents import (
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    event,
    open_runtime,
)


@dataclass
class Note:
    text: str


class Clerk(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("keeps the notes of its topic's source")
        self._notes: list[str] = []

    @event
    async def keep(self, message: Note, ctx: MessageContext) -> None:
        self._notes.append(message.text)
        print(f"{self.id} has {', '.join(self._notes)}")


async def register(runtime: SingleThreadedAgentRuntime, **topics: str) -> None:
    for agent_type, topic_type in topics.items():
        await Clerk.register(runtime, agent_type, Clerk)
        await runtime.add_subscription(TypeSubscription(topic_type, agent_type))


async def one_tenant_one_topic() -> None:
    """All agents hear everything, and there is one of each."""
    async with open_runtime() as runtime:
        await register(runtime, triage="default", billing="default")
        await runtime.publish_message(Note("a"), DefaultTopicId())
        await runtime.publish_message(Note("b"), DefaultTopicId())


async def one_tenant_two_topics() -> None:
    """The type of the topic says who hears it, and there is still one of each."""
    async with open_runtime() as runtime:
        await register(runtime, triage="issues", billing="bills")
        await runtime.publish_message(Note("a"), TopicId("issues", "default"))
        await runtime.publish_message(Note("b"), TopicId("bills", "default"))


async def many_tenants() -> None:
    """The source of the topic is data: each has agents of its own, made on demand."""
    async with open_runtime() as runtime:
        await register(runtime, triage="issues")
        for issue, text in (("repo/issues/1", "a"), ("repo/issues/2", "b"), ("repo/issues/1", "c")):
            await runtime.publish_message(Note(text), TopicId("issues", issue))


async def main() -> None:
    for scenario in (one_tenant_one_topic, one_tenant_two_topics, many_tenants):
        print(f"{scenario.__name__}:")
        await scenario()


trio.run(main)

# Prints:
# one_tenant_one_topic:
# triage/default has a
# billing/default has a
# triage/default has a, b
# billing/default has a, b
# one_tenant_two_topics:
# triage/default has a
# billing/default has b
# many_tenants:
# triage/repo/issues/1 has a
# triage/repo/issues/2 has b
# triage/repo/issues/1 has a, c
