"""The configuration of a `FunctionTool`: its function as text, and the function out of the text.

Loading *runs* the text, so the policy has to allow it. Whatever would then fail for lack of a name
is refused when the tool is dumped, by whoever can still do something about it.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Callable, Sequence
from typing import Any

from .._components._config_data import ComponentConfig
from .._components._policy import check_code_is_allowed
from .._sansio._errors import ComponentError
from ..code_executor._functions import Import, import_to_str, source_of

__all__ = ["FunctionToolConfig", "function_from_source", "source_for_config"]


class FunctionToolConfig(ComponentConfig):
    """The configuration of a `FunctionTool`.

    Attributes:
        source_code: The text of the function. It is run when the tool is loaded.
        name: What models call it.
        description: What it is for.
        global_imports: What is imported before the text is run.
        has_cancellation_support: Whether the function takes a ``cancellation_token``.
        strict: Whether models are bound to the schema.
    """

    source_code: str
    name: str
    description: str
    global_imports: Sequence[Import] = ()
    has_cancellation_support: bool = False
    strict: bool = False


def source_for_config(function: Callable[..., Any], imports: Sequence[Import]) -> str:
    """Return the text of *function*, which with *imports* before it will define it anywhere.

    Raises:
        ComponentError: there is none.
    """
    try:
        source = source_of(function)
        missing = _missing_names(_program(source, imports))
    except ValueError as error:
        raise ComponentError(f"a FunctionTool cannot be dumped: {error}") from None
    if missing:
        raise ComponentError(
            f"a FunctionTool cannot be dumped: {function.__name__} uses {', '.join(missing)} of "
            f"its module. Import it inside of the function, name it in "
            f"global_imports=[ImportFromModule(...)], or derive a class from BaseTool"
        )
    return source


def _program(source: str, imports: Sequence[Import]) -> str:
    return "\n".join([*map(import_to_str, imports), source])


def _missing_names(program: str) -> list[str]:
    """Return the names that *program* uses and does not define, and Python neither."""
    top = symtable.symtable(program, "<source_code>", "exec")
    defined = {symbol.get_name() for symbol in top.get_symbols() if _is_defined(symbol)}
    if any(
        isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in _body(program)
    ):
        return []  # nobody knows
    used: set[str] = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        used |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (symbol.is_global() or table is top)
        }
    return sorted(used - defined - set(dir(builtins)))


def _is_defined(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def _body(program: str) -> list[ast.stmt]:
    return ast.parse(program).body


def function_from_source(provider: str, config: FunctionToolConfig) -> Callable[..., Any]:
    """Run the text of *config* and return the first function that it defines.

    Raises:
        ComponentNotAllowed: the policy does not allow to run it.
        ComponentError: it cannot be run, or defines none.
    """
    check_code_is_allowed(provider, "source_code, the text of a function")
    namespace: dict[str, Any] = {"__name__": f"source_code of {config.name}"}
    what = f"{provider}: the source_code of {config.name}"
    try:
        program = _program(config.source_code, config.global_imports)
        body = _body(program)
    except (SyntaxError, ValueError) as error:
        raise ComponentError(f"{what} is not valid: {error}") from None
    names = [n.name for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not names:
        raise ComponentError(f"{what} defines no function")
    try:
        # dont_inherit: this module's own future imports are not the text's.
        exec(compile(program, f"<{config.name}>", "exec", dont_inherit=True), namespace)
    except Exception as error:
        raise ComponentError(f"{what} has failed: {type(error).__name__}: {error}") from error
    found: Callable[..., Any] = namespace[names[0]]
    return found
