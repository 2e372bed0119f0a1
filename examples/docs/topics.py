# docs/guides/topics.md: the kinds of subscriptions, and one of your own.

from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    event,
    open_runtime,
)


@dataclass(frozen=True)
class News:
    text: str


class Reader(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("reads")

    @event
    async def read(self, message: News, ctx: MessageContext) -> None:
        print(f"{message.text}: {self.id} on {ctx.topic_id}")


# [own]
@dataclass(frozen=True)
class OneForAll:
    """Every topic of one type goes to one and the same agent, whatever its source."""

    topic_type: str
    agent: AgentId

    @property
    def id(self) -> str:
        return f"{self.topic_type} to {self.agent}"

    def is_match(self, topic_id: TopicId) -> bool:
        return topic_id.type == self.topic_type

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        return self.agent


# [/own]
# [main]
async def main() -> None:
    async with open_runtime() as runtime:
        for agent_type in ("reader", "archive", "audit"):
            await Reader.register(runtime, agent_type, Reader)
        await runtime.add_subscription(TypeSubscription("news.sport", "reader"))
        await runtime.add_subscription(TypePrefixSubscription("news.", "archive"))
        await runtime.add_subscription(OneForAll("news.sport", AgentId("audit", "only-one")))

        await runtime.publish_message(News("goal"), TopicId("news.sport", "leeds"))
        await runtime.publish_message(News("rain"), TopicId("news.weather", "leeds"))
        await runtime.publish_message(News("hello"), TopicId("reader:", "ann"))


# [/main]
trio.run(main)

# Prints:
# goal: reader/leeds on news.sport/leeds
# goal: archive/leeds on news.sport/leeds
# goal: audit/only-one on news.sport/leeds
# rain: archive/leeds on news.weather/leeds
# hello: reader/ann on reader:/ann
