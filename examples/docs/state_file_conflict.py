# docs/guides/state.md: two that have loaded the same state, and both save.

import trio

from trio_agents import load_state_file, open_runtime, save_state_file
from trio_agents.exceptions import StateFileConflict


# [conflict]
async def main() -> None:
    async with open_runtime() as first, open_runtime() as second:
        await save_state_file(first, "shared.json")
        await load_state_file(second, "shared.json")
        await save_state_file(first, "shared.json")
        try:
            await save_state_file(second, "shared.json")
        except StateFileConflict:
            print("somebody else was faster: load again, and decide")
            await load_state_file(second, "shared.json")
            file = await save_state_file(second, "shared.json")
            print(f"generation {file.generation}")


# [/conflict]
trio.run(main)

# Prints:
# somebody else was faster: load again, and decide
# generation 3
