"""The command line: ``trio-agents``.

Nothing else of the package imports this module, or click; and this one imports the demo, and with
it rich, and what migrates programs, only to run it.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from ._version import __version__

if TYPE_CHECKING:
    from ._demo._app import Job, Result
    from ._migrate._plan import Plan

__all__ = ["main"]

FAILED: Final = 1  # 2 is click's, for wrong usage
UNWRITTEN: Final = 1
UNREADABLE: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trio-agents")
def cli() -> None:
    """Agents on trio: AutoGen Core's agent runtime on structured concurrency."""


@cli.command(options_metavar="[OPTIONS]")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True))
@click.option("-w", "--write", "--yes", "write", is_flag=True, help="Write without asking.")
@click.option("--diff", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--check", is_flag=True, help="Name the files that would change, and write nothing.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Pass over files and folders whose name or path matches GLOB. May be given repeatedly.",
)
@click.option(
    "--mixed",
    is_flag=True,
    help="Change imports also where AgentChat, or an extension that is not here, is imported.",
)
def migrate(
    paths: tuple[str, ...],
    write: bool,
    diff: bool,
    check: bool,
    exclude: tuple[str, ...],
    mixed: bool,
) -> None:
    """Move programs written for autogen_core to trio_agents.asyncio.

    Imports of autogen_core and its modules become imports of trio_agents.asyncio, of its modules,
    and of trio_agents.models, .tools and the others that are for both event loops; imports of
    autogen_ext become imports of trio_agents.ext where that has them. Nothing else of a file
    changes. Each PATH is a Python file or a notebook, or a folder that
    is searched to any depth, without hidden folders, virtual environments and links.

    A diff goes to standard output. What has to be decided by you goes to standard error, each place
    with what to do. Then you are asked whether to write.

    Exit status: 0 done, or nothing to do; 1 something would change and was not written (--diff,
    --check, or your answer); 2 wrong usage; 3 a file could not be read, understood or written;
    130 after Ctrl-C.
    """
    if write and (diff or check):
        raise click.UsageError("--write writes, and --diff and --check do not: give one of them.")
    from ._migrate._plan import make_plan
    from ._migrate._target import BrokenTarget, InstalledTarget

    try:
        plan = make_plan(paths, InstalledTarget(), exclude=exclude, mixed=mixed)
        _show(plan, names_only=check and not diff)
        may_write = write or (bool(plan.changes) and not (diff or check) and _may_write(plan))
    except BrokenTarget as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyboardInterrupt:
        _tell("\nInterrupted. Nothing was written.")
        sys.exit(INTERRUPTED)
    if may_write and plan.changes:
        _apply(plan)
    if plan.failures:
        sys.exit(UNREADABLE)
    if plan.changes and not may_write:
        sys.exit(UNWRITTEN)


def _show(plan: Plan, *, names_only: bool) -> None:
    """Show what would change, what is left to the user, and what could not be read."""
    styles = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}
    color = _takes_color(sys.stdout)
    for change in plan.changes:
        if names_only:
            _print(f"{change.path}\n")
            continue
        for line in change.diff():
            style = next((style for start, style in styles.items() if line.startswith(start)), None)
            _print(_styled(line, style) if color else line)
    sys.stdout.flush()  # or the rest would come before it where both go to one place
    color = _takes_color(sys.stderr)
    for group, says in plan.grouped():
        for place, code in group:
            _tell(f"{_styled(place, 'bold') if color else place}: {code}")
        _tell(textwrap.fill(says, 92, initial_indent="    ", subsequent_indent="    "))
    for path, why in plan.failures:
        _tell_skipped(path, why)
    changes, places = len(plan.changes), len(plan.findings)
    _tell(
        f"{_count(changes, 'file')} to change, {_count(places, 'place')} for you to decide, "
        f"{len(plan.failures)} skipped."
    )


def _may_write(plan: Plan) -> bool:
    # click.confirm, in some versions, writes a part of its prompt to standard output.
    _echo(f"Change {_count(len(plan.changes), 'file')}? [y/N]: ", sys.stderr)
    if not (answer := sys.stdin.readline()):
        _tell("\nNobody answered, so nothing was written. --write writes without asking.")
    return answer.strip().lower() in ("y", "yes")


def _apply(plan: Plan) -> None:
    from ._migrate._files import Unusable

    written = 0
    for change in plan.changes:
        try:
            change.apply()
            written += 1
        except Unusable as exc:
            plan.failures.append((change.path, str(exc)))
            _tell_skipped(change.path, str(exc))
    _tell(f"Changed {_count(written, 'file')}.")


def _tell_skipped(path: str, why: str) -> None:
    _tell(f"Skipped {path}: {why}{'' if why.endswith(('.', '?', '!')) else '.'}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _takes_color(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _styled(text: str, style: str | None) -> str:
    body = text.rstrip("\r\n")
    codes = {"bold": "1", "red": "31", "green": "32", "cyan": "36"}
    return f"\x1b[{codes[style]}m{body}\x1b[0m{text[len(body) :]}" if style else text


@cli.group()
def demo() -> None:
    """Programs that show what the runtime is for. They need no network and no model."""


class DigestCommand(click.Command):
    """A command whose ``--trace`` may be followed by a file or not.

    By click's own rules ``--trace docs`` would take the folder for the file.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given: list[str] = []
        for at, arg in enumerate(args):
            if arg == "--":
                given += args[at:]
                break
            if arg.endswith(".mmd") and given[-1:] == ["--trace=-"]:
                given[-1] = f"--trace={arg}"
            else:
                given.append("--trace=-" if arg == "--trace" else arg)
        return super().parse_args(ctx, given)


@demo.command(cls=DigestCommand, options_metavar="[OPTIONS]")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True))
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    metavar="N",
    help="Read N documents at the same time. The digest is the same for any N.",
)
@click.option(
    "-s",
    "--sentences",
    type=click.IntRange(0, 10),
    default=3,
    show_default=True,
    metavar="N",
    help="Show N sentences of each document.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write the digest to FILE instead of standard output.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Keep in FILE what was read, and do not read again what has not changed since.",
)
@click.option(
    "--trace",
    metavar="[FILE.mmd]",
    help="Print who sent what to whom; with FILE.mmd, draw it there as a Mermaid diagram.",
)
def digest(
    paths: tuple[str, ...],
    concurrency: int,
    sentences: int,
    output: str | None,
    resume: str | None,
    trace: str | None,
) -> None:
    """Write a digest of text and Markdown files.

    Each PATH is a file, or a folder that is searched to any depth. Without one, the documents that
    come with trio-agents are read.

    The digest goes to standard output, as Markdown; how it goes, to standard error. Ctrl-C cancels
    what is being read and gives the digest of the rest; a second one ends at once.

    Exit status: 0 done, 1 nothing could be read or written, 2 wrong usage, 130 after Ctrl-C.
    """
    drawing = None if trace in (None, "-") else trace
    if drawing is not None and not drawing.endswith(".mmd"):
        raise click.BadParameter(f"{drawing} does not end in .mmd.", param_hint="'--trace'")
    for option, file in (("--output", output), ("--resume", resume), ("--trace", drawing)):
        folder = Path(file or ".").parent
        if not folder.is_dir():
            raise click.BadParameter(f"There is no folder {folder}.", param_hint=f"'{option}'")
    try:
        from ._demo._app import Job

        job = Job(
            paths=paths,
            concurrency=concurrency,
            sentences=sentences,
            state_file=resume,
            leave_out=tuple(file for file in (output, resume, drawing) if file is not None),
            record=trace is not None,
        )
        _report(_run(job), output=output, drawing=drawing, as_text=trace == "-")
    except KeyboardInterrupt:  # a second Ctrl-C, or one before there was anything to give up
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)


def _run(job: Job) -> Result:
    import trio

    from ._demo._app import NothingToDigest, make_digest
    from ._demo._progress import open_display
    from ._demo._state import StateFileError

    async def wait_for_interrupt() -> None:
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            await anext(signals)

    async def run() -> Result | Exception:
        async with open_display(sys.stderr) as display:
            try:
                return await make_digest(job, display, wait_for_interrupt)
            except (NothingToDigest, StateFileError) as exc:
                return exc  # not through the display's nursery, which would wrap it in a group

    try:
        result = trio.run(run)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from group
        raise
    if isinstance(result, Exception):
        raise click.ClickException(str(result)) from result
    return result


def _report(result: Result, *, output: str | None, drawing: str | None, as_text: bool) -> None:
    """Write the results where they belong, and end with the right exit status."""
    from ._demo._progress import summary
    from ._demo._trace import as_mermaid, as_text as text_of

    failures: list[str] = []
    written = result.markdown
    if as_text:
        messages = text_of(result.exchanges)
        if output is None:  # what is printed remains Markdown
            written += f"\n## Who sent what to whom\n\n````text\n{messages}````\n"
        else:
            _print(messages)
    if output is None:
        _print(written)
    else:
        failures += _write(output, written)
    if drawing is not None:
        failures += _write(drawing, as_mermaid(result.exchanges))
    if result.unsaved is not None:
        failures.append(f"The state could not be saved: {result.unsaved}.")
    click.echo(summary(result.counts), err=True)
    for failure in failures:
        click.echo(f"Error: {failure}", err=True)
    if result.interrupted:
        sys.exit(INTERRUPTED)
    if failures:
        sys.exit(FAILED)


def _write(path: str, text: str) -> list[str]:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        return [f"{path} could not be written: {exc.strerror}."]
    return []


def _print(text: str) -> None:
    _echo(text, sys.stdout)


def _tell(line: str) -> None:
    _echo(f"{line}\n", sys.stderr)


def _echo(text: str, stream: TextIO) -> None:
    # Whatever the terminal's encoding is, a document may have other characters.
    encoding = stream.encoding or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding), file=stream, nl=False)


def main() -> None:
    """Run the command line, with the arguments of this process."""
    cli(prog_name="trio-agents")


if __name__ == "__main__":
    main()
