"""Functions of the application that code can import, as a module beside it."""

from __future__ import annotations

import keyword
from collections.abc import Awaitable, Callable, Sequence
from string import Template
from typing import Any, Final, TypeAlias, final

from ...code_executor import FunctionWithRequirements, FunctionWithRequirementsStr
from ...code_executor._functions import build_python_functions_file, to_stub
from ._code_files import CodeFiles
from ._result import Finished

__all__ = ["FUNCTION_PROMPT_TEMPLATE", "INSTALLING", "AnyFunction", "FunctionsModule"]

AnyFunction: TypeAlias = (
    FunctionWithRequirements[Any, Any] | FunctionWithRequirementsStr | Callable[..., Any]
)

INSTALLING: Final = 600.0  # seconds; packages take as long as the network does

FUNCTION_PROMPT_TEMPLATE: Final = """\
The module `$module_name` has these functions, which your code can import from it, as in \
`from $module_name import name`:

$functions"""


@final
class FunctionsModule:
    """The module of functions, as text."""

    def __init__(self, functions: Sequence[AnyFunction], name: str) -> None:
        """Take *functions* in.

        Raises:
            ValueError: *name* is no name of a module, or a function has no text.
        """
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f"functions_module must be the name of a module, not {name!r}")
        self.functions = tuple(functions)
        self.name = name
        self.file = f"{name}.py"
        self.text = build_python_functions_file(self.functions) if self.functions else ""
        packages = [
            package
            for function in self.functions
            if isinstance(function, FunctionWithRequirements | FunctionWithRequirementsStr)
            for package in function.python_packages
        ]
        self.packages = tuple(dict.fromkeys(packages))

    def prompt(self, template: str) -> str:
        """Return what tells a model about the functions; nothing if there are none."""
        if not self.functions:
            return ""
        stubs = "\n\n".join(to_stub(function) for function in self.functions)
        return Template(template).substitute(module_name=self.name, functions=stubs)

    async def offer(
        self,
        files: CodeFiles,
        install: Callable[[Sequence[str]], Awaitable[Finished]],
        run: Callable[[Sequence[str]], Awaitable[Finished]],
    ) -> None:
        """Put the module where code can import it, if there is one.

        Args:
            files: where code runs.
            install: runs Python there with these arguments, for an installation.
            run: runs Python there with these arguments.

        Raises:
            ValueError: a package cannot be installed, or the module not be imported.
        """
        if not self.functions:
            return
        files.write(self.file, self.text)
        if self.packages:
            installed = await install(["-m", "pip", "install", *self.packages])
            if installed.exit_code or installed.timed_out:
                raise ValueError(
                    f"what functions need could not be installed: {installed.output.strip()}"
                )
        tried = await run([self.file])
        if tried.exit_code or tried.timed_out:
            raise ValueError(f"the functions cannot be imported: {tried.output.strip()}")
