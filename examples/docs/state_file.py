# docs/guides/state.md: a program that goes on where it stopped, and what it makes of damage.

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from trio_agents import (
    AgentId,
    BaseAgent,
    MessageContext,
    load_state_file,
    open_runtime,
    save_state_file,
)


class Notebook(BaseAgent):
    def __init__(self) -> None:
        super().__init__("remembers everything")
        self.notes: list[object] = []

    async def on_message_impl(self, message: object, ctx: MessageContext) -> list[object]:
        self.notes.append(message)
        return self.notes

    async def save_state(self) -> Mapping[str, Any]:
        return {"notes": self.notes}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.notes = list(state["notes"])


# [file]
async def note(something: str) -> None:
    async with open_runtime() as runtime:
        await Notebook.register(runtime, "notebook", Notebook)
        try:
            file = await load_state_file(runtime, "notes.json")
        except FileNotFoundError:
            print("nothing yet")
        else:
            print(f"generation {file.generation}, recovered: {file.recovered}")

        notes = await runtime.send_message(something, AgentId("notebook", "shopping"))
        file = await save_state_file(runtime, "notes.json")
        print(f"saved {notes} as generation {file.generation}")


# [/file]
# [damage]
trio.run(note, "milk")
trio.run(note, "bread")
path = Path("notes.json")
path.write_bytes(path.read_bytes().replace(b"bread", b"beard"))
trio.run(note, "butter")
# [/damage]

# Prints:
# nothing yet
# saved ['milk'] as generation 1
# generation 1, recovered: None
# saved ['milk', 'bread'] as generation 2
# generation 1, recovered: notes.json: its checksum is wrong: it is damaged, or changed by hand
# saved ['milk', 'butter'] as generation 3
