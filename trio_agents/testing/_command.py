"""The command that repeats a failure: written where it is found, and read by another process.

That process has to import the scenario, and lacks what the one that failed had in ``sys.path``:
pytest puts there where a test lies, what its configuration names, and what a conftest.py adds. So
the command has these directories as ``--path``. What is on no path is named by its file.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from ._faults import FAULTS, Injection, Jump, name_of
from ._schedule import Trace

__all__ = ["load", "relative", "repetition"]


def repetition(
    scenario: object, trace: Trace, faults: Sequence[Injection], options: Mapping[str, Any]
) -> str:
    """Give the command line that replays a trace, or the call where nobody could import it."""
    target = _target_of(scenario)
    named = [found for one in faults if (found := _target_of(one.fault)) is not None]
    if target is None or len(named) < len(faults):
        return _call(scenario, trace, faults)
    words = [target.text, str(trace)]
    for path in _paths_for([target, *named]):
        words += ["--path", path]
    for fault, injection in zip(named, faults, strict=True):
        words += ["--fault", f"{fault.text}@{injection.at}"]
    for option in ("max_steps", "patience"):
        if option in options:
            words += [f"--{option.replace('_', '-')}", str(options[option])]
    if not options.get("monitored", True):
        words.append("--unmonitored")
    return f"python -m trio_agents.testing replay {shlex.join(words)}"


def _call(scenario: object, trace: Trace, faults: Sequence[Injection]) -> str:
    """Give the call of `replay`, and say what its names are and why there is no command."""
    again = ", ".join(f"inject({name_of(one.fault)}, at={one.at})" for one in faults)
    more = f", faults=[{again}]" if faults else ""
    functions = {name_of(one.fault): one.fault for one in faults} | {"scenario": scenario}
    hidden = [name for name, function in functions.items() if _target_of(function) is None]
    told = dict.fromkeys(["scenario", *hidden])
    where = " and ".join(f"{name} is {_describe(functions[name])}" for name in told)
    return (
        f'replay(scenario, "{trace}"{more}), where {where}. There is no command for it, as no '
        f"other process can import {' and '.join(hidden)}: for one, define it at the top level of "
        "a module"
    )


def _describe(function: object) -> str:
    """Say what was given, and where it is written."""
    if isinstance(function, functools.partial):
        return f"a partial of {_describe(function.func)}"
    name: str | None = getattr(function, "__qualname__", None)
    if name is None:
        return f"{function!r:.100}"
    kind = "method" if inspect.ismethod(function) else "function"
    inner: Any = getattr(function, "__func__", function)
    code = getattr(inspect.unwrap(inner), "__code__", None)
    if code is None:
        return f"the {kind} {name}"
    return f"the {kind} {name} in {relative(code.co_filename)}, line {code.co_firstlineno}"


# --- what another process can import


@attrs.frozen
class _Target:
    """Something that another process can import.

    Attributes:
        text: What `load` reads.
        home: The directory that its module is imported from, if any.
        is_implied: Whether `load` looks there without being told.
    """

    text: str
    home: str | None = None
    is_implied: bool = True


def _target_of(function: object) -> _Target | None:
    """Give what the command line imports something by, if anything."""
    if isinstance(function, Jump) or function in FAULTS.values():
        return _Target(name_of(function))
    name = str(getattr(function, "__qualname__", ""))
    module = sys.modules.get(str(getattr(function, "__module__", "")))
    try:
        found = functools.reduce(getattr, name.split("."), module)
    except AttributeError:  # a function inside of another, or a lambda
        return None
    if module is None or found != function:  # a method of one object, say
        return None
    file: str | None = getattr(module, "__file__", None)
    place = module.__name__
    home = next(_homes_of(sys.modules[place.partition(".")[0]]), None)
    if file is None:
        return None if place == "__main__" else _Target(f"{place}:{name}", home, is_implied=False)
    path = relative(file)
    root = os.path.realpath(_root_of(Path(file)))
    if place == "__main__" or not _would_find(place, file):
        # A program, or pytest has imported it from its file.
        return _Target(f"{path}:{name}", root) if path.endswith(".py") else None
    if "." in place or path.startswith(os.pardir) or path == f"{place}.py":
        return _Target(f"{place}:{name}", home, is_implied=False)
    return _Target(f"{path}:{name}", home, is_implied=home == root)


def _would_find(name: str, file: str) -> bool:
    """Whether an import of this name, by who has the same ``sys.path``, would find this file."""
    path: Any = None
    spec: Any = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        asked = ".".join(parts[:end])
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
        specs = (finder.find_spec(asked, path) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return spec.origin is not None and os.path.realpath(spec.origin) == os.path.realpath(file)


def _paths_for(targets: Sequence[_Target]) -> list[str]:
    """Give the directories of ``sys.path`` that these need, and no other process has."""
    needed = {target.home for target in targets}
    program = sys.modules.get("__main__")  # pytest, say; or the targets are in it
    for name, module in list(sys.modules.items()):
        # A test needs no other, nor a conftest.py: their directories may be very many.
        is_test = name == "conftest" or name.startswith("test_") or name.endswith("_test")
        if "." not in name and module is not program and not is_test:
            needed.update(_homes_of(module))
    paths = dict.fromkeys(os.path.realpath(path) for path in sys.path)
    here = os.path.realpath(os.curdir)
    wanted = [path for path in paths if path in needed and path != here]
    wanted = [path for path in wanted if path not in _paths_of_others()]
    if {target.home for target in targets if target.is_implied}.issuperset(wanted):
        return []
    return [relative(path) for path in wanted]


@functools.cache
def _paths_of_others() -> frozenset[str]:
    """Give what another process of this interpreter has in its ``sys.path``, by asking one."""
    code = "import json, sys; print(json.dumps(sys.path[1:]))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=10
        )
        found: list[str] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return frozenset()  # the command gets longer, and works
    return frozenset(map(os.path.realpath, found))


def _homes_of(module: ModuleType) -> Iterator[str]:
    """Give the directories that a module of the top level is imported from."""
    # Not `getattr`: a module may have one of its own, which imports things.
    names = getattr(module, "__dict__", {})
    places = [names.get("__file__")] if names.get("__path__") is None else names["__path__"]
    for place in places:
        if isinstance(place, str):
            yield os.path.realpath(os.path.dirname(place))


def _root_of(file: Path) -> Path:
    """Give the directory in which the outermost package of a file lies, or the file. As pytest."""
    folder = file.absolute().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def relative(path: str, start: str | Path = os.curdir) -> str:
    """Give the path from a directory, the current one, to another place."""
    try:
        return os.path.relpath(path, start)
    except ValueError:  # on another drive
        return path


# --- who reads it


def load(target: str, what: str = "scenario") -> Any:
    """Import what ``module:function`` or ``file.py:function`` names.

    Raises:
        ValueError: it has not that form.
        ImportError, AttributeError, OSError: there is no such thing.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"a {what} is module:function or file.py:function, not {target!r}")
    module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _load_file(path: Path) -> ModuleType:
    root = _root_of(path)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # as for a program, and as pytest does for a test
    if root != path.absolute().parent:
        return importlib.import_module(
            ".".join(path.absolute().relative_to(root).with_suffix("").parts)
        )
    loaded = sys.modules.get(path.stem)
    file = getattr(loaded, "__file__", None)
    if loaded is not None and file is not None and os.path.realpath(file) == os.path.realpath(path):
        return loaded  # a fault may change what the scenario of the same file sees
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
