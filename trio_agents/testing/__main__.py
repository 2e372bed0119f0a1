"""``python -m trio_agents.testing replay MODULE:SCENARIO TRACE``: run a failed schedule again."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import click

from ._explore import replay
from ._schedule import Trace


@click.group()
def main() -> None:
    """Tools of the test kit."""


@main.command(name="replay")
@click.argument("scenario")
@click.argument("trace")
def replay_command(scenario: str, trace: str) -> None:
    """Run SCENARIO (package.module:function, or file.py:function) under the schedule TRACE.

    Ends with a traceback and 1 if it fails, as it did, and with 0 if it does not.
    """
    try:
        parsed = Trace.parse(trace)
        function = load(scenario)
    except (ValueError, ImportError, AttributeError, OSError) as exc:
        raise click.UsageError(str(exc)) from exc
    run = replay(function, parsed)
    click.echo(
        f"{scenario} passes under this schedule: {run.steps} steps, {run.seconds:g} s of its time"
    )
    if run.remark:
        click.echo(f"But {run.remark}.")


def load(scenario: str) -> Any:
    """Import what ``module:function`` or ``file.py:function`` names.

    Raises:
        ValueError: it has not that form.
        ImportError, AttributeError, OSError: there is no such thing.
    """
    place, colon, name = scenario.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"a scenario is module:function or file.py:function, not {scenario!r}")
    sys.path.insert(0, "")  # as `python -m` does for the module itself
    if place.endswith(".py"):
        path = Path(place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    return value


if __name__ == "__main__":
    main(prog_name="python -m trio_agents.testing")
