# docs/guides/code-executors.md: functions of the application, for code to import.

import math

import trio

from trio_agents import CancellationToken
from trio_agents.code_executor import CodeBlock, with_requirements
from trio_agents.ext.code_executors.local import LocalCommandLineCodeExecutor


# [functions]
@with_requirements(global_imports=["math"])
def circle(radius: float) -> float:
    """Return the area of a circle."""
    return math.pi * radius**2


async def main() -> None:
    async with LocalCommandLineCodeExecutor(functions=[circle], sandbox=None) as executor:
        print(executor.format_functions_for_prompt("Import from $module_name:\n$functions"))
        result = await executor.execute_code_blocks(
            [CodeBlock("from functions import circle\nprint(round(circle(2), 2))", "python")],
            CancellationToken(),
        )
        print(result.output, end="")


# [/functions]
trio.run(main)

# Prints:
# Import from functions:
# def circle(radius: float) -> float:
#     """Return the area of a circle."""
#     ...
# 12.57
