"""`check_runtime`: whether a runtime does what the `AgentRuntime` protocol promises.

The library's own runtimes are held to it, and so can be any other: one behind a network, one that
adds something around ours. A check uses the protocol alone. What a runtime does not offer is said
by its author and listed in the report; nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal, cast, final

import anyio
import attrs

from .._sansio._notes import add_note
from ._conformance_agents import AGENT_CHECKS
from ._conformance_check import Capability, Check, OpenRuntime
from ._conformance_many import MANY_CHECKS
from ._conformance_messages import MESSAGE_CHECKS
from ._conformance_offers import OFFER_CHECKS
from ._schedule import LoopName, check_loop

__all__ = ["RUNTIME_CHECKS", "CheckResult", "ConformanceReport", "check_runtime"]

RUNTIME_CHECKS: Final[tuple[Check, ...]] = (
    *MESSAGE_CHECKS,
    *MANY_CHECKS,
    *AGENT_CHECKS,
    *OFFER_CHECKS,
)
"""All checks of `check_runtime`, for `pytest.mark.parametrize`: each is awaited with what opens a
runtime."""

EVERYTHING: Final = frozenset(Capability)


@final
@attrs.frozen
class CheckResult:
    """What came of one check.

    Attributes:
        check: The check.
        outcome: Whether the promise was kept; ``"not applicable"`` if the runtime does not offer
            what the check needs.
        reason: Why not, in words; empty if it passed.
        error: What was raised, if it failed.
    """

    check: Check
    outcome: Literal["passed", "failed", "not applicable"]
    reason: str = ""
    error: BaseException | None = attrs.field(default=None, repr=False)


@final
@attrs.frozen
class ConformanceReport:
    """What came of all checks. Its text is a list of them.

    Attributes:
        results: One for each check, in order.
    """

    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> tuple[CheckResult, ...]:
        """The promises that were kept."""
        return self._of("passed")

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The promises that were not kept."""
        return self._of("failed")

    @property
    def not_applicable(self) -> tuple[CheckResult, ...]:
        """The checks that were not tried."""
        return self._of("not applicable")

    def _of(self, outcome: str) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.outcome == outcome)

    def __str__(self) -> str:
        lines = [
            f"{len(self.passed)} passed, {len(self.failed)} failed, "
            f"{len(self.not_applicable)} not applicable"
        ]
        for result in self.results:
            reason = f": {result.reason}" if result.reason else ""
            lines.append(f"  {result.outcome:<14}  {result.check.name}{reason}")
        return "\n".join(lines)

    def raise_for_failures(self) -> None:
        """Raise what the checks that failed have raised.

        Raises:
            BaseExceptionGroup: all of it, each with a note that names the check. It is an
                `ExceptionGroup` unless one of them is no `Exception`.
        """
        errors = [result.error for result in self.failed if result.error is not None]
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} of {len(self.results)} checks failed", errors)


def check_runtime(
    open_runtime: OpenRuntime,
    *,
    loop: LoopName = "trio",
    offers: Collection[Capability] = EVERYTHING,
    checks: Iterable[Check] = RUNTIME_CHECKS,
) -> ConformanceReport:
    """Try all that the `AgentRuntime` protocol promises, each on a runtime of its own.

    ::

        report = check_runtime(open_mine, offers=set(Capability) - {Capability.STATE})
        report.raise_for_failures()

    Each check runs in an event loop of its own, by the real clock, and fails after 20 seconds. All
    of them are run, whatever fails.

    Args:
        open_runtime: Opens a runtime, see `OpenRuntime`. The facades' ``open_runtime`` does.
        loop: The event loop to run on. For a runtime behind a portal that is ``"asyncio"``.
        offers: What the runtime does beyond what each must. The checks of the rest are listed as
            not applicable.
        checks: Only these.

    Returns:
        What came of each check. It raises nothing by itself: call `raise_for_failures`.

    Raises:
        ValueError: there is no such *loop*; or there are no *checks*.
        TypeError: what it *offers* is no `Capability`.
        RuntimeError: an event loop runs in this thread already: await the checks one by one there.
    """
    check_loop(loop)
    offered = frozenset(offers)
    given: frozenset[object] = offered
    for capability in given:
        if not isinstance(capability, Capability):
            names = ", ".join(known.name for known in Capability)
            raise TypeError(f"a runtime offers members of Capability ({names}), not {capability!r}")
    results = tuple(_try(check, open_runtime, loop, offered) for check in checks)
    if not results:
        raise ValueError("no check was given, and nothing would be tried: take RUNTIME_CHECKS")
    return ConformanceReport(results)


def _try(
    check: Check, open_runtime: OpenRuntime, loop: LoopName, offers: frozenset[Capability]
) -> CheckResult:
    missing = sorted(capability.name for capability in check.needs - offers)
    if missing:
        return CheckResult(check, "not applicable", f"{', '.join(missing)} not offered")
    errors: list[BaseException] = []

    async def main() -> None:
        try:
            await check(open_runtime)
        except anyio.get_cancelled_exc_class():
            raise
        except Exception as exc:  # it is the result
            errors.append(exc)

    anyio.run(main, backend=loop)
    if not errors:
        return CheckResult(check, "passed")
    (error,) = errors
    add_note(error, f"in check {check.name}: {check.promise}")
    return CheckResult(check, "failed", _words(error), error)


def _words(error: BaseException) -> str:
    """Give the words of an error, of those in a group too."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return "; ".join(_words(one) for one in group.exceptions)
    return str(error) if isinstance(error, AssertionError) else repr(error)
