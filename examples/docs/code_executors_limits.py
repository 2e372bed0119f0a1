# docs/guides/code-executors.md: what a process may use.

import trio

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock
from trio_agents.ext.code_executors.local import LocalCommandLineCodeExecutor, ResourceLimits


async def main() -> None:
    # [limits]
    executor = LocalCommandLineCodeExecutor(
        limits=ResourceLimits(address_space=500_000_000, cpu_seconds=10, file_size=10_000_000),
        sandbox=None,
    )
    # [/limits]
    async with executor:
        result = await executor.execute_code_blocks(
            [CodeBlock("bytearray(10**9)", "python")], CancellationToken()
        )
    print(result.output.splitlines()[-1])


trio.run(main)

# Prints:
# MemoryError
