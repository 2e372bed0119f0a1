"""A team of AutoGen AgentChat on our runtime: run, saved, and taken up again by another team."""

import asyncio
import json

# [imports]
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.replay import ReplayChatCompletionClient

from trio_agents.interop.autogen import AutoGenRuntime

# [/imports]
POET = ["Leaves let go of trees.", "Leaves let go, and drift."]
CRITIC = ["Say what they do then.", "Better. I would keep it."]


# [team]
def make_team(runtime: AutoGenRuntime) -> RoundRobinGroupChat:
    poet = AssistantAgent("poet", model_client=ReplayChatCompletionClient(POET))
    critic = AssistantAgent("critic", model_client=ReplayChatCompletionClient(CRITIC))
    return RoundRobinGroupChat([poet, critic], max_turns=4, runtime=runtime)


async def run() -> str:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        team = make_team(runtime)
        result = await team.run(task="A line about autumn.")
        for message in result.messages:
            print(f"{message.source}: {message.to_text()}")
        state = json.dumps(await team.save_state())
        await runtime.stop_when_idle()
    return state


# [/team]
# [stream]
async def go_on(state: str) -> None:
    async with AutoGenRuntime() as runtime:
        runtime.start()
        team = make_team(runtime)
        await team.load_state(json.loads(state))
        async for item in team.run_stream(task="Another one."):
            print(type(item).__name__)
        await runtime.stop_when_idle()


# [/stream]
asyncio.run(go_on(asyncio.run(run())))

# Prints:
# user: A line about autumn.
# poet: Leaves let go of trees.
# critic: Say what they do then.
# poet: Leaves let go, and drift.
# critic: Better. I would keep it.
# TextMessage
# TextMessage
# TextMessage
# TextMessage
# TextMessage
# TaskResult
