"""What is refused in place of being tried: each with a sentence, at the call that brought it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any, Final

__all__ = [
    "check_number",
    "check_options",
    "check_scenario",
    "check_seed",
    "check_step",
    "check_strategy",
    "misuse_of_result",
]


def check_scenario(scenario: object) -> None:
    """See that this can be run as a scenario.

    Raises:
        TypeError: it is no function, or cannot be called with a simulation.
    """
    if inspect.iscoroutine(scenario):
        name = scenario.__qualname__
        scenario.close()  # nobody will await it
        raise TypeError(f"a scenario is called in each run: give {name}, and do not call it")
    if not callable(scenario):
        raise TypeError(
            f"a scenario is an async function that is called with the simulation, not {scenario!r}"
        )
    try:
        signature = inspect.signature(scenario)
    except (TypeError, ValueError):  # written in C, say
        return
    try:
        signature.bind(None)
    except TypeError as exc:
        name = getattr(scenario, "__qualname__", repr(scenario))
        raise TypeError(
            f"a scenario is called with one argument, the simulation, and {name}{signature} cannot "
            f"be: {exc}"
        ) from None


def misuse_of_result(result: object, scenario: object) -> TypeError | None:
    """Give the error for a scenario that is not async, or None for what can be awaited."""
    if inspect.isawaitable(result):
        return None
    name = getattr(scenario, "__qualname__", repr(scenario))
    return TypeError(
        f"a scenario is an async function, and {name} is none: it returned {result!r:.100}"
    )


def check_strategy(strategy: object) -> None:
    """See that this can make decisions.

    Raises:
        TypeError: it cannot.
    """
    if isinstance(strategy, type):
        raise TypeError(
            f"a strategy is an object that decides in one run, and {strategy.__name__} is a class: "
            f"give {strategy.__name__}(seed)"
        )
    if not callable(getattr(strategy, "choose", None)):
        raise TypeError(f"a strategy is an object with a method choose(ready), not {strategy!r}")


def check_seed(seed: object) -> None:
    """See that this is a seed.

    Raises:
        TypeError: it is no number, or True or False, which are meant for something else.
        ValueError: it is less than 0.
    """
    sentence = f"a seed is an integer, 0 or more, not {seed!r}"
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(sentence)
    if seed < 0:
        raise ValueError(sentence)


def check_step(at: object) -> None:
    """See that there is a step with this number in some run.

    Raises:
        TypeError: it is no number.
        ValueError: there is none.
    """
    if not isinstance(at, int):
        raise TypeError(f"a step is given by its number, counted from 1, not by {at!r}")
    if at < 1:
        raise ValueError(f"steps are counted from 1: a fault cannot happen before step {at}")


def check_number(value: object, name: str, least: float, what: str) -> None:
    """See that a number is large enough.

    Raises:
        TypeError: it is no number.
        ValueError: it is less than *least*, or none at all.
    """
    if not isinstance(value, int | float):
        raise TypeError(f"{name} is {what}, not {value!r}")
    if not value >= least:
        raise ValueError(f"{name} is {what}, {least:g} or more, not {value!r}")


NUMBERS: Final = {
    "max_steps": (1, "how many steps a run may take"),
    "patience": (0, "how many real seconds to wait"),
}


def check_options(options: Mapping[str, Any], known: Collection[str], of: str) -> None:
    """See that these are options of a run, and that they can be used.

    Raises:
        TypeError: there is no such option, or it has the wrong type.
        ValueError: it is out of range.
    """
    for name, value in options.items():
        if name not in known:
            raise TypeError(f"{of}() has no argument {name!r}; its options: {', '.join(known)}")
        if name in NUMBERS:
            least, what = NUMBERS[name]
            check_number(value, name, least, what)
