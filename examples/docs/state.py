# docs/guides/state.md: what a saved state is, and what it may contain.

import json
from collections.abc import Mapping
from typing import Any

import trio

from trio_agents import (
    AgentId,
    BaseAgent,
    MessageContext,
    SingleThreadedAgentRuntime,
)
from trio_agents.exceptions import StateError


# [agent]
class Notebook(BaseAgent):
    def __init__(self) -> None:
        super().__init__("remembers everything")
        self.notes: list[object] = []

    async def on_message_impl(self, message: object, ctx: MessageContext) -> None:
        self.notes.append(message)

    async def save_state(self) -> Mapping[str, Any]:
        return {"notes": self.notes}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.notes = list(state["notes"])


# [/agent]
# [save]
async def main() -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        await Notebook.register(runtime, "notebook", Notebook)
        runtime.start()
        await runtime.send_message("milk", AgentId("notebook", "shopping"))
        print(json.dumps(await runtime.save_state()))

        await runtime.send_message({"price": {1, 2}}, AgentId("notebook", "shopping"))
        try:
            await runtime.save_state()
        except StateError as exc:
            print(exc)

        try:
            await runtime.load_state({"notebook/shopping": {"notes": []}, "diary/ann": {}})
        except StateError as exc:
            print(exc)


# [/save]
trio.run(main)

# Prints:
# {"notebook/shopping": {"notes": ["milk"]}}
# the state of agent notebook/shopping['notes'][1]['price']: set is not JSON
# the state names agent types that are not registered: diary
