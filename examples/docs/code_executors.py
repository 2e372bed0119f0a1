# docs/guides/code-executors.md: blocks of code, and what comes of them.

import tempfile

import trio

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock
from trio_agents.ext.code_executors.local import LocalCommandLineCodeExecutor

work_dir = tempfile.mkdtemp()


# [run]
async def main() -> None:
    # sandbox=None: this code is our own. What a model writes gets Sandbox().
    async with LocalCommandLineCodeExecutor(
        work_dir=work_dir, timeout=10, sandbox=None
    ) as executor:
        result = await executor.execute_code_blocks(
            [
                CodeBlock("# filename: lib.py\ndef double(n): return 2 * n", "python"),
                CodeBlock("from lib import double\nprint(double(21))", "python"),
                CodeBlock("echo so far so good\nfalse", "bash"),
                CodeBlock("echo never run", "bash"),
            ],
            CancellationToken(),
        )
    print(result.exit_code)
    print(result.output, end="")


# [/run]
trio.run(main)

# Prints:
# 1
# 42
# so far so good
