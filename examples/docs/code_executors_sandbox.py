# docs/guides/code-executors.md: code that wants out of its sandbox.

import trio

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock
from trio_agents.ext.code_executors.local import (
    LocalCommandLineCodeExecutor,
    Sandbox,
    SandboxUnavailable,
)


# [sandbox]
async def main() -> None:
    executor = LocalCommandLineCodeExecutor(timeout=10, sandbox=Sandbox())
    try:
        async with executor:
            result = await executor.execute_code_blocks(
                [CodeBlock("cat ~/.ssh/* /etc/shadow; env; ls -A /home /root; ps ax", "bash")],
                CancellationToken(),
            )
            print(result.output)
    except SandboxUnavailable as error:
        print(error)  # and nothing was run


# [/sandbox]
trio.run(main)
