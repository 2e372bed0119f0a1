"""The test kit: what the library is tested with, for the agents that people write with it.

- `Probe`, `ScriptedAgent`: stand-ins for the agents that yours talk to.
- `simulate`, `explore`, `explore_fault`, `replay`: a scenario under schedules that a seed decides,
  on a clock that jumps, with faults where one wants them.
- `Monitor`: whether a runtime keeps what it promises, looked at step by step.
- `no_leaks`: whether anything was left behind.
- `RecordingDisk`, `crash_images`, `FailingDisk`: what is left of files after a crash.
- `check_runtime`: whether a runtime of your own keeps what the protocol promises.

Hypothesis strategies are in `trio_agents.testing.strategies`, and a state machine that compares a
runtime with its reference model in `trio_agents.testing.stateful`.
"""

from __future__ import annotations

from .._sansio._facade import claim_names
from ._conformance import (
    RUNTIME_CHECKS as RUNTIME_CHECKS,
    CheckResult as CheckResult,
    ConformanceReport as ConformanceReport,
    check_runtime as check_runtime,
)
from ._conformance_check import (
    Capability as Capability,
    Check as Check,
    CheckFailed as CheckFailed,
    OpenRuntime as OpenRuntime,
)
from ._disk import RecordingDisk as RecordingDisk
from ._disk_crash import CrashImage as CrashImage, crash_images as crash_images
from ._disk_faults import SHORT as SHORT, FailingDisk as FailingDisk
from ._explore import (
    Exploration as Exploration,
    ScenarioFailed as ScenarioFailed,
    explore as explore,
    explore_fault as explore_fault,
    replay as replay,
)
from ._faults import (
    Fault as Fault,
    Injection as Injection,
    cancel_victim as cancel_victim,
    collect_garbage as collect_garbage,
    inject as inject,
    jump_clock as jump_clock,
    press_ctrl_c as press_ctrl_c,
)
from ._leak import Leak as Leak, LeakKind as LeakKind
from ._leaks import LeakError as LeakError, no_leaks as no_leaks
from ._monitor import InvariantViolation as InvariantViolation, Monitor as Monitor
from ._probes import Probe as Probe, ProbeFailed as ProbeFailed, Received as Received
from ._schedule import (
    Plain as Plain,
    Priorities as Priorities,
    Shuffle as Shuffle,
    SingleSteps as SingleSteps,
    Strategy as Strategy,
    Trace as Trace,
)
from ._scripted import (
    Act as Act,
    Call as Call,
    Script as Script,
    ScriptedAgent as ScriptedAgent,
    ScriptedFactory as ScriptedFactory,
    ScriptedInterventionHandler as ScriptedInterventionHandler,
    as_act as as_act,
    blocks as blocks,
    by_type as by_type,
    calls as calls,
    echoes as echoes,
    hangs as hangs,
    ignores_cancellation as ignores_cancellation,
    publishes as publishes,
    raises as raises,
    returns as returns,
    sends as sends,
    sleeps as sleeps,
    swallows_cancellation as swallows_cancellation,
    waits_for as waits_for,
)
from ._simulation import (
    Run as Run,
    RunOptions as RunOptions,
    Scenario as Scenario,
    Simulation as Simulation,
    Stuck as Stuck,
    TooLong as TooLong,
    simulate as simulate,
)
from ._waiting import Gate as Gate, wait_all_tasks_blocked as wait_all_tasks_blocked

__all__ = [
    "RUNTIME_CHECKS",
    "SHORT",
    "Act",
    "Call",
    "Capability",
    "Check",
    "CheckFailed",
    "CheckResult",
    "ConformanceReport",
    "CrashImage",
    "Exploration",
    "FailingDisk",
    "Fault",
    "Gate",
    "Injection",
    "InvariantViolation",
    "Leak",
    "LeakError",
    "LeakKind",
    "Monitor",
    "OpenRuntime",
    "Plain",
    "Priorities",
    "Probe",
    "ProbeFailed",
    "Received",
    "RecordingDisk",
    "Run",
    "RunOptions",
    "Scenario",
    "ScenarioFailed",
    "Script",
    "ScriptedAgent",
    "ScriptedFactory",
    "ScriptedInterventionHandler",
    "Shuffle",
    "Simulation",
    "SingleSteps",
    "Strategy",
    "Stuck",
    "TooLong",
    "Trace",
    "as_act",
    "blocks",
    "by_type",
    "calls",
    "cancel_victim",
    "check_runtime",
    "collect_garbage",
    "crash_images",
    "echoes",
    "explore",
    "explore_fault",
    "hangs",
    "ignores_cancellation",
    "inject",
    "jump_clock",
    "no_leaks",
    "press_ctrl_c",
    "publishes",
    "raises",
    "replay",
    "returns",
    "sends",
    "simulate",
    "sleeps",
    "swallows_cancellation",
    "wait_all_tasks_blocked",
    "waits_for",
]

claim_names(__name__, globals())
