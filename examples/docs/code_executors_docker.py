# docs/guides/code-executors.md: a container of its own.

import trio

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock
from trio_agents.ext.code_executors.docker import DockerCommandLineCodeExecutor, DockerError


# [docker]
async def main() -> None:
    executor = DockerCommandLineCodeExecutor(
        "python:3-slim", timeout=10, network_mode="none", memory=500_000_000, pids_limit=100
    )
    try:
        async with executor:
            result = await executor.execute_code_blocks(
                [CodeBlock("print(6 * 7)", "python")], CancellationToken()
            )
            print(result.output)
    except DockerError as error:
        print(error)


# [/docker]
trio.run(main)
