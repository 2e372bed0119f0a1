"""Functions of the application that code can import, as a module beside it."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from string import Template
from typing import Any, Final, TypeAlias, final

from ...code_executor import FunctionWithRequirements, FunctionWithRequirementsStr
from ...code_executor._functions import build_python_functions_file, to_stub

__all__ = ["FUNCTION_PROMPT_TEMPLATE", "AnyFunction", "FunctionsModule"]

AnyFunction: TypeAlias = (
    FunctionWithRequirements[Any, Any] | FunctionWithRequirementsStr | Callable[..., Any]
)

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
