# docs/guides/portal.md: agents in a notebook. The cells are text, because they may say `await`
# outside of functions; they are run here by the kernel that Jupyter starts for a notebook.

import re
from typing import Any

import nbclient
import nbformat

CELLS = """
# [agents]
import trio
from trio_agents import AgentId, MessageContext, RoutedAgent, rpc
from trio_agents.portal import open_portal


class Poet(RoutedAgent):
    @rpc
    async def write(self, message: str, ctx: MessageContext) -> str:
        await trio.sleep(0.01)
        return f"{message}, {message}"
# [/agents]

# [open]
from contextlib import AsyncExitStack

stack = AsyncExitStack()
runtime = await stack.enter_async_context(open_portal())
await Poet.register(runtime, "poet", lambda: Poet("writes"))
# [/open]

# [ask]
print(await runtime.send_message("a rose", AgentId("poet", "x")))
# [/ask]

# [close]
await stack.aclose()
# [/close]

# [plain]
with open_portal() as runtime:
    runtime.run(Poet.register, "poet", lambda: Poet("writes"))
    print(runtime.send_message("a tree", AgentId("poet", "x")))
# [/plain]
"""

new: Any = nbformat.v4  # it has no type hints
sources: list[str] = re.findall(r"^# \[\w+\]\n(.*?)^# \[/\w+\]$", CELLS, re.DOTALL | re.MULTILINE)
notebook = new.new_notebook(cells=[new.new_code_cell(source) for source in sources])
nbclient.NotebookClient(notebook).execute()
for cell in notebook.cells:
    for output in cell.outputs:
        print(output["text"] if "text" in output else output["data"]["text/plain"] + "\n", end="")

# Prints:
# AgentType(type='poet')
# a rose, a rose
# a tree, a tree
