"""``python -m trio_agents.testing replay MODULE:SCENARIO TRACE``: run a failed schedule again."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence

import click

from ._command import load
from ._explore import replay
from ._faults import FAULTS, Injection, inject, jump_clock
from ._schedule import Trace
from ._simulation import RunOptions


@click.group()
def main() -> None:
    """Tools of the test kit."""


@main.command(name="replay")
@click.argument("scenario")
@click.argument("trace")
@click.option(
    "--path",
    "paths",
    metavar="DIRECTORY",
    type=click.Path(exists=True, file_okay=False),
    multiple=True,
    help="Where to look for modules, before the current directory. May be repeated.",
)
@click.option(
    "--fault",
    "faults",
    metavar="FAULT@STEP",
    multiple=True,
    help="What happens before a step: module:function@STEP, or one of "
    "cancel_victim, press_ctrl_c, collect_garbage and 'jump_clock(SECONDS)'.",
)
@click.option("--max-steps", type=click.IntRange(1), help="How many steps it may take.")
@click.option("--patience", type=click.FloatRange(0), help="Real seconds to wait for threads.")
@click.option("--unmonitored", is_flag=True, help="Have no monitor look at its runtimes.")
def replay_command(
    scenario: str,
    trace: str,
    paths: Sequence[str],
    faults: Sequence[str],
    max_steps: int | None,
    patience: float | None,
    unmonitored: bool,
) -> None:
    """Run SCENARIO (package.module:function, or file.py:function) under the schedule TRACE.

    A file is imported as pytest does it, from the directory that it, or its package, lies in.
    Ends with a traceback and 1 if it fails, as it did, and with 0 if it does not. The options are
    those of the run that failed.
    """
    options: RunOptions = {}
    if max_steps is not None:
        options["max_steps"] = max_steps
    if patience is not None:
        options["patience"] = patience
    if unmonitored:
        options["monitored"] = False
    try:
        parsed = Trace.parse(trace)
        sys.path[:0] = [*map(os.path.abspath, paths), ""]  # "" is there anyway, if not for -P
        function = load(scenario)
        injections = [load_fault(fault) for fault in faults]
    except (ValueError, TypeError, ImportError, AttributeError, OSError) as exc:
        raise click.UsageError(str(exc)) from exc
    try:
        run = replay(function, parsed, faults=injections, **options)
    except BaseException as exc:
        # Not left to click, for which Ctrl-C, an EOFError and its own errors need no traceback.
        traceback.print_exception(exc)
        raise SystemExit(1) from None
    click.echo(
        f"{scenario} passes under this schedule: {run.steps} steps, {run.seconds:g} s of its time"
    )
    if run.remark:
        click.echo(f"But {run.remark}.")


def load_fault(text: str) -> Injection:
    """Give what ``FAULT@STEP`` names.

    Raises:
        ValueError, TypeError: it has not that form, or can be no fault.
        ImportError, AttributeError, OSError: there is no such thing.
    """
    name, _, step = text.rpartition("@")
    if not name or not step.isdecimal():
        raise ValueError(f"a fault is FAULT@STEP, like press_ctrl_c@17, not {text!r}")
    jump = re.fullmatch(r"jump_clock\((.+)\)", name)
    if jump:
        return inject(jump_clock(float(jump[1])), at=int(step))
    return inject(FAULTS.get(name) or load(name, "fault"), at=int(step))


if __name__ == "__main__":
    main(prog_name="python -m trio_agents.testing")
