"""What is said about a place that is left as it is: what is the matter, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ._target import OURS, THEIRS

STAR: Final = (
    f"What a star brings cannot be seen here. Import by name what is used, and run this again, "
    f"or write `from {OURS} import *` if no name of {THEIRS} is missed."
)
GUARDED: Final = (
    f"This import may fail and the program goes on: it asks whether {THEIRS} is installed. "
    f"{OURS} always is: import from it, without the question, or keep this."
)
BESIDE: Final = (
    "Left alone, because this file also imports AgentChat or AutoGen's extensions, which work "
    f"with the types of {THEIRS}. If what is imported here never reaches them, run this "
    "with --mixed."
)
AGENTCHAT: Final = (
    "Keep this import. AgentChat works with AutoGen's own types: give it a runtime from "
    "trio_agents.interop.autogen."
)
EXTENSIONS: Final = (
    "Keep this import. AutoGen's extensions work with AutoGen's own types: give them a runtime "
    f"from trio_agents.interop.autogen, and types of {THEIRS}."
)
MIXED: Final = (
    f"Imports of {THEIRS} stay in this file, beside others of {OURS}. Types of the two must not "
    "meet in one runtime: settle the ones that stay before it is run."
)
DYNAMIC: Final = (
    f"A module that is imported by its name while the program runs. If what comes of it meets "
    f"types of {OURS}, name a module of {OURS} here."
)
PATCH: Final = (
    f"A patch of something in {THEIRS}, which migrated code does not use. Name the module of "
    "the program that uses it, or leave this if AutoGen itself is meant."
)
LOGGER: Final = (
    "A logger's name. Keep it: the loggers here have AutoGen's names, so that the configuration "
    "of a program's log goes on working."
)
PROVIDER: Final = (
    f"A component's provider. If the class is imported from {OURS} now, name it as it is there; "
    "configurations that were saved before name the old one."
)
STRING: Final = (
    f"A string that names {THEIRS}. If it means a module, name the one in {OURS}; the names of "
    "loggers stay as they are."
)
EXAMPLE: Final = f"An import in a docstring. If it is shown to users or run, write {OURS}."
CORE_DEPENDENCY: Final = (
    f"A dependency. Put trio-agents in its place when no file imports {THEIRS} any more."
)
OTHER_DEPENDENCY: Final = (
    "A dependency that works with AutoGen's own types, and brings autogen-core along. Keep it "
    "as long as it is imported, with trio-agents[autogen] beside it."
)
NO_PYTHON: Final = (
    "This cell is not Python as it stands, so it was left alone. Change its imports by hand."
)
SHELL: Final = "A command to a shell or to the notebook. Change it by hand if need be."
UNUSUAL: Final = f"Written in an unusual way. Write {THEIRS} in plain letters, and run this again."


def no_module(module: str) -> str:
    """A module of theirs that is not here, or not yet."""
    return (
        f"There is no {OURS}.{module}. Replace what is imported by something of the program's "
        "own, or keep it, away from the agents and their messages."
    )


def private(known: Iterable[str]) -> str:
    """A private module; *known* are the names that can be had in public."""
    public = ", ".join(known)
    instead = (
        f"{OURS} has {public}: import from there."
        if public
        else "Find out what is needed from it, and whether a public name does the same."
    )
    return f"A private module of {THEIRS}, which has no counterpart here. {instead}"


def no_names(module: str, names: Iterable[str]) -> str:
    """Names that a module here does not have."""
    return (
        f"{module} has no {', '.join(names)}. Import what it has in a statement of its own, and "
        "run this again; replace the rest, or keep it away from the agents and their messages."
    )


def no_attributes(module: str, name: str, uses: Iterable[str]) -> str:
    """Attributes that are used, and that the module here would not have."""
    return (
        f"The program uses {', '.join(uses)}, which {module} does not have, or only as a module of "
        f"its own. Import by name what is meant, from where it is, and not through {name}."
    )


def without_alias(module: str) -> str:
    """``import autogen_core.models``, which binds autogen_core."""
    alias = module.rpartition(".")[2]
    return (
        f"This binds the name {THEIRS}, and through it everything in the package. Write "
        f"`import {module} as {alias}`, and {alias} where {THEIRS}.{alias} is used."
    )


def bound_twice(line: str) -> str:
    """``import autogen_core`` beside ``import autogen_core.models``."""
    return (
        f"{line} binds the name {THEIRS} too, and is left alone. Settle that one first, and run "
        "this again."
    )


def no_package() -> str:
    """Nothing to import from at all, which only a broken installation can have."""
    return f"{OURS} cannot be found. Install trio-agents anew, and run this again."
