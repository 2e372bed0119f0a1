# docs/guides/code-executors.md: a kernel that keeps its variables.

import trio

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock
from trio_agents.ext.code_executors.jupyter import JupyterCodeExecutor


# [jupyter]
async def main() -> None:
    async with JupyterCodeExecutor(timeout=30, sandbox=None) as executor:
        token = CancellationToken()
        await executor.execute_code_blocks([CodeBlock("total = 40", "python")], token)
        with trio.move_on_after(0.1):
            await executor.execute_code_blocks([CodeBlock("while True: pass", "python")], token)
        result = await executor.execute_code_blocks([CodeBlock("total + 2", "python")], token)
        print(result.output)


# [/jupyter]
trio.run(main)

# Prints:
# 42
