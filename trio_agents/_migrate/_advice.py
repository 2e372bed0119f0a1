"""What is said about a place that is left as it is: what is the matter, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .._components._providers import ALIASES, instead_of
from ._target import EXTENSIONS as THEIR_EXTENSIONS, OURS, PACKAGE, THEIRS, counterpart, root_for

BESIDE: Final = (
    "Left alone, because this file also imports AgentChat, or an extension of AutoGen's that "
    f"stays, which work with the types of {THEIRS}. If what is imported here never reaches them, "
    "run this with --mixed."
)
ELSEWHERE: Final = (
    "Left alone, because another of these files imports AgentChat, which takes only AutoGen's own "
    "clients, tools and executors. If what is imported here never reaches it, run this on this "
    "file by itself, or with --mixed."
)
AGENTCHAT: Final = (
    "Keep this import. AgentChat works with AutoGen's own types: give it a runtime from "
    "trio_agents.interop.autogen."
)
EXTENSIONS: Final = (
    "Keep this import. It has no counterpart here, and AutoGen's extensions work with AutoGen's "
    f"own types: give them a runtime from trio_agents.interop.autogen, and types of {THEIRS}."
)
MIXED: Final = (
    f"Imports of {THEIRS} stay in this file, beside others of {PACKAGE}. Types of the two must "
    "not meet in one runtime: settle the ones that stay before it is run."
)
PATCH: Final = (
    "A patch of something of AutoGen's, which migrated code does not use. Name the module of "
    "the program that uses it, or leave this if AutoGen itself is meant."
)
LOGGER: Final = (
    "A logger's name. Keep it: the loggers here have AutoGen's names, so that the configuration "
    "of a program's log goes on working."
)
EXAMPLE: Final = (
    f"An import in a docstring. If it is shown to users or run, write there what a run of this "
    f"makes of it in a program: {OURS} for {THEIRS} in most cases."
)
CORE_DEPENDENCY: Final = (
    f"A dependency. Put trio-agents in its place when no file imports {THEIRS} any more."
)
EXTENSIONS_DEPENDENCY: Final = (
    f"A dependency that brings autogen-core along. When no file imports {THEIR_EXTENSIONS} any "
    "more, put trio-agents in its place, with the extras of what is used (trio-agents[openai], "
    "for example). Until then keep it, with trio-agents[autogen] beside it."
)
AGENTCHAT_DEPENDENCY: Final = (
    "A dependency that works with AutoGen's own types, and brings autogen-core along. Keep it "
    "as long as it is imported, with trio-agents[autogen] beside it."
)
#: By what stands after "autogen-".
DEPENDENCIES: Final = {
    "core": CORE_DEPENDENCY,
    "ext": EXTENSIONS_DEPENDENCY,
    "agentchat": AGENTCHAT_DEPENDENCY,
}
NO_PYTHON: Final = (
    "This cell is not Python as it stands, so it was left alone. Change its imports by hand."
)
SHELL: Final = "A command to a shell or to the notebook. Change it by hand if need be."
UNUSUAL: Final = (
    "Written in an unusual way. Write the module's name in plain letters, and run this again."
)


def star(module: str) -> str:
    """Everything of *module*, which is theirs."""
    return (
        "What a star brings cannot be seen here. Import by name what is used, and run this again, "
        f"or write `from {counterpart(module)} import *` if no name of {module} is missed."
    )


def guarded(root: str) -> str:
    """An import below *root* of which it is expected that it may fail."""
    if root == THEIR_EXTENSIONS:
        ours = f"{root_for(root)} can be imported without what its modules work with"
    else:
        ours = f"{root_for(root)} always is"
    return (
        f"This import may fail and the program goes on: it asks whether {root} is installed. "
        f"{ours}: import from it, without the question, or keep this."
    )


def dynamic(ours: str | None) -> str:
    """A module that is named where it is imported; *ours* is its counterpart, if there is one."""
    return (
        "A module that is imported by its name while the program runs. If what comes of it meets "
        f"types of {PACKAGE}, name {ours or 'one of ours'} here."
    )


def provider(theirs: str, ours: str | None) -> str:
    """A component's class in data; *ours* is its counterpart, if there is one."""
    if theirs in ALIASES:
        return f"A component's provider. Keep it: here it is another name of {ALIASES[theirs]}."
    if instead := instead_of(theirs):
        return f"A component's provider that is not here: {instead}."
    return (
        f"A component's provider. If its class is imported from {PACKAGE} now, name it "
        f"{ours or 'as it is there'}; configurations that were saved before name the old one."
    )


def string(ours: str | None) -> str:
    """Any other string; *ours* is the counterpart of what it names, if there is one."""
    return (
        "A string that names a package of AutoGen's. If it means a module or something in one, "
        f"write {ours or 'its name here'}; the names of loggers stay as they are."
    )


def no_module(module: str) -> str:
    """A module of theirs that is not here, or not yet."""
    return (
        f"There is no {counterpart(module)}. Replace what is imported by something of the "
        "program's own, or keep it, away from the agents and their messages."
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


def modules_apart(module: str, others: Iterable[str]) -> str:
    """Modules that are imported from *module*, and that are in another place here."""
    return (
        f"{', '.join(others)} cannot be imported from {module}. Import modules in a statement of "
        "their own, and run this again."
    )


def no_attributes(module: str, name: str, uses: Iterable[str]) -> str:
    """Attributes that are used, and that the module here would not have."""
    return (
        f"The program uses {', '.join(uses)}, which {module} does not have, or only as a module of "
        f"its own. Import by name what is meant, from where it is, and not through {name}."
    )


def without_alias(module: str) -> str:
    """``import autogen_core.models``, which binds autogen_core."""
    root, _, rest = module.partition(".")
    alias = rest.rpartition(".")[2]
    return (
        f"This binds the name {root}, and through it everything in the package. Write "
        f"`import {counterpart(module)} as {alias}`, and {alias} where {module} is used."
    )


def bound_twice(line: str, root: str) -> str:
    """``import autogen_core`` beside ``import autogen_core.models``."""
    return (
        f"{line} binds the name {root} too, and is left alone. Settle that one first, and run "
        "this again."
    )


def no_package() -> str:
    """Nothing to import from at all, which only a broken installation can have."""
    return f"{OURS} cannot be found. Install trio-agents anew, and run this again."
