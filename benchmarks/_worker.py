# A process of its own for every system, and the few words that it and the parent exchange.
#
# Systems never share an interpreter: their imports, their loggers and what they leave behind for
# the garbage collector would be in each other's numbers. A process lives as long as the run, so
# that the rounds of all systems can be interleaved: what the machine does meanwhile (another
# program, a lower clock) then falls on all of them. Only one of the processes works at a time; the
# others wait for their next line.
#
#     python -m benchmarks._worker autogen
#     <- {"ready": ["sequential", ...]}
#     -> {"scenario": "sequential", "count": 5000}
#     <- {"total": 0.65, "count": 5000}          or {"error": "...", "trace": "..."}
#
# A closed stdin ends the process, so none is left when the parent dies. SIGINT it ignores: a
# terminal sends that to parent and children alike, and the parent takes care of its children.

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ._sample import Sample

ROOT: Final = Path(__file__).parent.parent
PATIENCE: Final = 300.0
"""Seconds that one scenario may take in one round before the process is killed."""


class WorkerFailed(Exception):
    """A system could not be loaded or a scenario raised, died or hung there."""

    def __init__(self, reason: str, trace: str = "") -> None:
        super().__init__(reason)
        self.trace = trace


class Worker:
    """The parent's end: one system in one process. Use it as a context manager."""

    def __init__(self, system: str) -> None:
        self.system = system
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}._worker", system],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        try:
            ready: list[str] = self._receive()["ready"]
        except BaseException:
            self.close()
            raise
        self.scenarios: Final = frozenset(ready)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, scenario: str, count: int) -> Sample:
        """Run one round of *scenario* there and wait for its result.

        Raises:
            WorkerFailed: the scenario raised (the process lives on), or the process is gone.
        """
        assert self._process.stdin is not None
        try:
            print(
                json.dumps({"scenario": scenario, "count": count}),
                file=self._process.stdin,
                flush=True,
            )
        except BrokenPipeError:
            raise WorkerFailed(f"the process has ended: {self._process.wait()}") from None
        answer = self._receive()
        return Sample(answer["total"], answer["count"])

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Kill the process, if it still runs, and wait until it is gone."""
        self._process.kill()
        # Not communicate(): an interrupted write may have left half a line to flush.
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        self._process.wait()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            hung = not timer.is_alive()
            timer.cancel()
        if not line:
            if hung:
                raise WorkerFailed(f"no answer within {PATIENCE:.0f} s")
            raise WorkerFailed(f"the process has ended: {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(answer["error"], answer["trace"])
        return answer


def main(system: str) -> None:
    """The child's end: load one system and run what the parent asks for, line by line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The answers keep the pipe to themselves: what a library prints must not end up in between.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields: object) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    def answer_failure(exc: BaseException) -> None:
        reason = traceback.format_exception_only(exc)[0].strip()
        answer(error=reason, trace="".join(traceback.format_exception(exc)))

    try:
        scenarios = importlib.import_module(f"{__package__}._{system}").SCENARIOS
    except Exception as exc:
        answer_failure(exc)
        return
    answer(ready=list(scenarios))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            sample = scenarios[request["scenario"]](request["count"])
        except BaseException as exc:  # even SystemExit: the parent waits for a line
            answer_failure(exc)
        else:
            answer(total=sample.total, count=sample.count)


if __name__ == "__main__":
    main(sys.argv[1])
