"""Is it a tool? What is often given instead is a function, a class or a schema.

Not by ``isinstance`` with `Tool`: before Python 3.12 that reads all properties, and the schema of a
tool may be an error, which is for whoever asks for the schema.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["check_tool"]


def check_tool(what: object, where: str) -> None:
    """Refuse what cannot be a tool.

    Args:
        what: what was given.
        where: which argument it is, or is in.

    Raises:
        TypeError: it is none. The error says how to make one of it.
    """
    if isinstance(what, type):
        name = what.__qualname__
        raise TypeError(f"{where}: expected a Tool, not the class {name}: give {name}(...)")
    if hasattr(what, "run_json"):
        return
    if isinstance(what, Mapping):
        raise TypeError(
            f"{where}: expected a Tool, not a schema: a schema says what a tool is called and "
            f"takes, and not what it does"
        )
    if callable(what):
        name = getattr(what, "__qualname__", type(what).__qualname__)
        raise TypeError(
            f"{where}: expected a Tool, not the function {name}: wrap it in "
            f"FunctionTool(function, description)"
        )
    raise TypeError(f"{where}: expected a Tool, not {type(what).__qualname__}")
