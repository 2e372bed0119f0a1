"""The test kit: what the library is tested with, for the agents that people write with it.

- `simulate`, `explore`, `explore_fault`, `replay`: a scenario under schedules that a seed decides,
  on a clock that jumps, with faults where one wants them.
- `Monitor`: whether a runtime keeps what it promises, looked at step by step.

Hypothesis strategies are in `trio_agents.testing.strategies`.
"""

from __future__ import annotations

from ._explore import (
    Exploration as Exploration,
    ScenarioFailed as ScenarioFailed,
    explore as explore,
    explore_fault as explore_fault,
    replay as replay,
)
from ._monitor import InvariantViolation as InvariantViolation, Monitor as Monitor
from ._schedule import (
    Plain as Plain,
    Priorities as Priorities,
    Shuffle as Shuffle,
    SingleSteps as SingleSteps,
    Strategy as Strategy,
    Trace as Trace,
)
from ._simulation import (
    Fault as Fault,
    Injection as Injection,
    Run as Run,
    RunOptions as RunOptions,
    Scenario as Scenario,
    Simulation as Simulation,
    Stuck as Stuck,
    TooLong as TooLong,
    cancel_victim as cancel_victim,
    collect_garbage as collect_garbage,
    inject as inject,
    jump_clock as jump_clock,
    press_ctrl_c as press_ctrl_c,
    simulate as simulate,
)
