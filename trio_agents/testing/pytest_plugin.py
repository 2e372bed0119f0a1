"""The pytest plugin: fixtures for tests of agents, and tests under many schedules.

pytest loads it by itself where trio_agents is installed. Its fixtures are for async tests, on trio
by pytest-trio and on both loops by anyio's plugin:

- ``runtime``: a runtime that is started, on the event loop of the test. Failures of publications
  fail the test, and so do requests that nobody handles, and messages that are not finished 5
  seconds after the test. ``runtime_options`` and ``runtime_patience`` may be overridden.
- ``probe``: a `Probe` of the type ``"probe"``, which subscribes to the default topic.
- ``no_leaks``: the test leaves no task, thread, file, process or unheard error behind.

``@pytest.mark.simulate(seeds=100, loop="trio")`` has the plugin itself run an async test, once for
each seed, in a simulation; the fixture ``simulation`` is its `Simulation`. Async fixtures, and
those that depend on them, are set up in each run anew.

There are no assertions here that pytest would have to rewrite: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import re
import shlex
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import pytest
import sniffio

from .._loops import _asyncio_runtime, _trio_runtime
from .._sansio._subscriptions import DefaultSubscription
from . import _leaks
from ._command import relative
from ._explore import ScenarioFailed, explore, replay, seeds_of
from ._finishing import PATIENCE, finish
from ._misuse import check_number, check_seed
from ._probes import Probe
from ._pytest_fixtures import Deferred, current_simulation, is_async, set_up
from ._schedule import LoopName, Trace, check_loop
from ._simulation import RunOptions, Simulation

__all__: list[str] = []

SEEDS: Final = 100
# A test that this plugin runs has this, the fixtures that it puts off.
DEFERRED: Final = pytest.StashKey[list[Deferred]]()
# A test with the fixture `no_leaks` has this, the block around it.
BLOCK: Final = pytest.StashKey[_leaks.no_leaks]()

_OPTIONS: Final = frozenset({"seeds", "loop", "strategy", *RunOptions.__annotations__})

# What ends a test and is no failure of it.
_OUTCOMES: Final = (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception)


# --- options


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("trio_agents", "tests of agents under many schedules")
    group.addoption(
        "--agents-seeds",
        type=_positive,
        metavar="N",
        help="try so many seeds for every simulated test, whatever its mark says",
    )
    group.addoption(
        "--agents-seed",
        type=_seed,
        metavar="S",
        help="try this seed only, for every simulated test, whatever --agents-seeds says",
    )
    group.addoption(
        "--agents-trace",
        type=_trace,
        metavar="TRACE",
        help="run simulated tests once, under the schedule that a failure was reported with",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _seed(text: str) -> int:
    seed = int(text) if re.fullmatch(r"-?\d+", text) else text
    try:
        check_seed(seed)
    except (TypeError, ValueError) as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return int(seed)


# argparse names the function in its error: "invalid trace value: ..."
def _trace(text: str) -> Trace:
    return Trace.parse(text)


_positive.__name__, _trace.__name__ = "positive number", "trace"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        'simulate(seeds=100, loop="trio", **options): run an async test once for each seed, in a '
        "simulation of its event loop (trio_agents.testing.explore); the options are those of "
        "explore()",
    )


# --- simulated tests


# Before pytest-trio and anyio: what they find is not async any more.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("simulate")
        if marker is not None:
            _take_over(item, marker)


def _take_over(item: pytest.Item, marker: pytest.Mark) -> None:
    test: Any = getattr(item, "obj", None)
    if getattr(test, "is_hypothesis_test", False):
        raise pytest.UsageError(
            f"{item.nodeid}: simulate is no mark for a test with @given, which calls it many "
            "times: leave the mark out, make it a plain function, and call simulate() in it"
        )
    if not isinstance(item, pytest.Function) or not is_async(test):
        raise pytest.UsageError(
            f"{item.nodeid}: simulate is a mark for async test functions, and this is none"
        )
    if item.get_closest_marker("trio") is not None:
        raise pytest.UsageError(
            f"{item.nodeid}: a simulated test is run by this plugin and not by pytest-trio: "
            "take the mark trio away"
        )
    if item.get_closest_marker("asyncio") is not None:
        raise pytest.UsageError(
            f"{item.nodeid}: a simulated test is run by this plugin and not by pytest-asyncio: "
            "take the mark asyncio away (with asyncio_mode = auto it comes by itself: use strict), "
            'and write simulate(loop="asyncio")'
        )
    if marker.args:
        raise pytest.UsageError(
            f"{item.nodeid}: write simulate(seeds={marker.args[0]!r}): it has keywords only"
        )
    unknown = sorted(marker.kwargs.keys() - _OPTIONS)
    if unknown:
        raise pytest.UsageError(
            f"{item.nodeid}: simulate() takes {', '.join(sorted(_OPTIONS))}, "
            f"and not {', '.join(unknown)}"
        )
    try:
        seeds_of(marker.kwargs.get("seeds", SEEDS))
        check_loop(marker.kwargs.get("loop", "trio"))
    except (TypeError, ValueError) as exc:
        raise pytest.UsageError(f"{item.nodeid}: simulate(): {exc}") from exc
    item.stash[DEFERRED] = []
    item.obj = _simulated(item, test, dict(marker.kwargs))


def _simulated(
    item: pytest.Function, test: Callable[..., Any], options: dict[str, Any]
) -> Callable[..., None]:
    """Make a sync test of an async one, which runs it in simulations."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        __tracebackhide__ = True
        ended: list[BaseException] = []
        deferred = item.stash[DEFERRED]

        async def scenario(sim: Simulation) -> None:
            if ended:
                return
            try:
                await set_up(deferred, test, arguments, sim)
            except _OUTCOMES as exc:
                ended.append(exc)

        _explore(item, scenario, options)
        if ended:
            raise ended[0]

    return run


def _explore(
    item: pytest.Function, scenario: Callable[[Simulation], Any], options: dict[str, Any]
) -> None:
    __tracebackhide__ = True
    config = item.config
    options = dict(options)
    seeds: Any = options.pop("seeds", SEEDS)
    loop = options.pop("loop", None) or _loop_of(item)
    trace = config.getoption("--agents-trace")
    if trace is not None:
        options.pop("strategy", None)
        if remark := replay(scenario, trace, **options).remark:
            warnings.warn(f"--agents-trace={trace}: {remark}", RuntimeWarning, stacklevel=2)
        return
    seed = config.getoption("--agents-seed")
    seeds = config.getoption("--agents-seeds") or seeds if seed is None else [seed]

    # The id of a node begins at the root, and the user is where pytest was started.
    _, colons, test = str(item.nodeid).partition("::")
    name = relative(str(item.path), config.invocation_params.dir) + colons + test

    def command(trace: Trace) -> str:
        return f"pytest {shlex.quote(name)} --agents-trace={trace}"

    try:
        explore(scenario, seeds=seeds, loop=loop, command=command, **options)
    except ScenarioFailed as failed:
        raise failed.with_traceback(None) from failed.__cause__


def _loop_of(item: pytest.Function) -> LoopName:
    """Give the event loop that anyio's plugin has meant a test for, or else trio."""
    callspec = getattr(item, "callspec", None)
    backend: Any = None if callspec is None else callspec.params.get("anyio_backend")
    if isinstance(backend, str):
        backend = (backend, {})
    return "asyncio" if backend is not None and backend[0] == "asyncio" else "trio"


# --- their fixtures


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if DEFERRED in item.stash:
        item.stash[DEFERRED].clear()  # it may be run once more


# Outside of pytest-trio's and anyio's hooks: they see a sync function.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: Any
) -> Generator[None, Any, Any]:
    try:
        return (yield from _set_up_fixture(fixturedef, request))
    except BaseException as exc:
        # pytest ends what has a result, and a hook that raises has left none: the next test that
        # asks for this fixture would find it half set up, and fail for that.
        if fixturedef.cached_result is None:
            fixturedef.cached_result = (None, fixturedef.cache_key(request), (exc, None))
            fixturedef.finish(request)
        raise


def _set_up_fixture(fixturedef: pytest.FixtureDef[Any], request: Any) -> Generator[None, Any, Any]:
    item: pytest.Item | None = getattr(request, "_pyfuncitem", None)
    if item is None:
        return (yield)
    if DEFERRED not in item.stash:
        if fixturedef.func is not _open_runtime:
            return (yield)
        _check_runner(item)
        return (yield from _check_is_run(item))
    if current_simulation.get() is not None:
        pytest.fail(
            f"fixture {fixturedef.argname!r}, or one that depends on it, was asked for inside of a "
            "simulated run: name it as an argument of the test, or of a fixture",
            pytrace=False,
        )
    function = _bound(fixturedef.func, request)
    arguments = {name: request.getfixturevalue(name) for name in fixturedef.argnames}
    depends = any(isinstance(argument, Deferred) for argument in arguments.values())
    if not (is_async(function) or depends or function is give_simulation):
        return (yield)
    if fixturedef.scope != "function":
        pytest.fail(
            f"fixture {fixturedef.argname!r} is async and of scope {fixturedef.scope}, and each "
            f"run of the simulated test {item.name!r} is an event loop of its own: give it the "
            "scope function",
            pytrace=False,
        )
    deferred = Deferred(function, arguments)
    item.stash[DEFERRED].append(deferred)

    def defer(**_: Any) -> Deferred:
        return deferred

    original, fixturedef.func = fixturedef.func, defer  # type: ignore[misc]
    try:
        return (yield)
    finally:
        fixturedef.func = original  # type: ignore[misc]


def _check_runner(item: pytest.Item) -> None:
    """See that one plugin runs this test, which asks for a runtime, and that it is one that can."""
    test: Any = getattr(item, "obj", None)
    inner: Any = getattr(getattr(test, "hypothesis", None), "inner_test", test)
    is_trio = item.get_closest_marker("trio") is not None
    problem = ""
    # pytest-trio has made a sync function of its test when that is run once more.
    if not is_async(inner) and not is_trio:
        problem = (
            "is not async, and a runtime lives on the event loop of a test: write async def, or "
            "open a runtime in the test, with trio.run() or trio_agents.portal.open_portal()"
        )
    elif item.get_closest_marker("asyncio") is not None:
        problem = (
            "is run by pytest-asyncio, which sets a fixture up in one task and ends it in another; "
            "a runtime owns tasks, and has to be closed where it was opened. Give the test "
            "anyio's mark, @pytest.mark.anyio, with a fixture anyio_backend that returns "
            "'asyncio', and take the mark asyncio away (with asyncio_mode = auto it comes by "
            "itself: use strict)"
        )
    elif is_trio and "anyio_backend" in getattr(item, "fixturenames", ()):
        problem = (
            "has pytest-trio's mark trio and, by the mark anyio or the fixture anyio_backend, also "
            "belongs to anyio's plugin; two plugins cannot run one test: take one of them away. "
            "With trio_mode = true each async test is marked trio: leave that out, and mark the "
            "tests for trio with @pytest.mark.trio"
        )
    if problem:
        pytest.fail(f"{item.name} asks for the fixture 'runtime' and {problem}", pytrace=False)


def _check_is_run(item: pytest.Item) -> Generator[None, Any, Any]:
    """See that some plugin sets a runtime up. pytest itself fails, or gives what nobody awaits."""
    is_marked = item.get_closest_marker("trio") is not None
    if is_marked or "anyio_backend" in getattr(item, "fixturenames", ()):
        return (yield)
    try:
        value = yield
    except pytest.fail.Exception:
        value = None
    else:
        if not inspect.isasyncgen(value):
            return value
    pytest.fail(
        f"{item.name} asks for the fixture 'runtime' and is run by no plugin, so nobody sets it "
        "up. Give the test the mark trio, for pytest-trio, or all async tests by trio_mode = true "
        "in pytest's configuration; or the mark anyio, or simulate",
        pytrace=False,
    )


def _bound(function: Any, request: pytest.FixtureRequest) -> Any:
    """Bind a fixture that is a method to the instance that the test runs on, as pytest does."""
    if hasattr(function, "__self__") and isinstance(request.instance, type(function.__self__)):
        return function.__func__.__get__(request.instance)
    return function


# --- fixtures


def give_simulation() -> Simulation:
    """The simulation that a test with the mark ``simulate`` runs in."""
    sim = current_simulation.get()
    if sim is None:
        pytest.fail("the fixture 'simulation' is for tests with the mark simulate", pytrace=False)
    return sim


simulation = pytest.fixture(name="simulation")(give_simulation)


@pytest.fixture
def runtime_options() -> Mapping[str, Any]:
    """Arguments for the runtime of ``runtime``. Override it to change some of them."""
    return {}


@pytest.fixture
def runtime_patience() -> float:
    """Seconds of real time that ``runtime`` has to finish after the test. Override it for others.

    `math.inf` stands for as long as it takes. In a simulation it does not count: whoever waits for
    ever is `Stuck` there.
    """
    return PATIENCE


async def _open_runtime(
    runtime_options: Mapping[str, Any], runtime_patience: float
) -> AsyncGenerator[Any, None]:
    """A runtime that is started, on the event loop of the test.

    When the test is over it finishes what was accepted. A failure of a publication fails the test,
    and a request that no handler accepts raises `CantHandleException`. What has not been finished
    in ``runtime_patience`` is cancelled and fails the test by a `LeakError` that lists it.
    """
    check_number(runtime_patience, "runtime_patience", 0, "how many real seconds to wait")
    options: dict[str, Any] = {
        "ignore_unhandled_exceptions": False,
        "strict": True,
        **runtime_options,
    }
    sim = current_simulation.get()
    opened: AbstractAsyncContextManager[Any]
    if sim is not None:
        opened = sim.open_runtime(**options)
    elif sniffio.current_async_library() == "trio":
        opened = _trio_runtime.open_runtime(**options)
    else:
        opened = _asyncio_runtime.open_runtime(**options)
    async with opened as runtime:
        yield runtime  # noqa: ASYNC119  # pytest closes this
        if sim is None:
            await finish(runtime, runtime_patience)


runtime = pytest.fixture(name="runtime")(_open_runtime)


@pytest.fixture
async def probe(runtime: Any) -> Probe:
    """A probe of the agent type ``"probe"``, which subscribes to the default topic."""
    return await Probe.register(runtime, "probe", subscriptions=lambda: [DefaultSubscription()])


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Generator[None, None, None]:
    """Fail if the test, or a fixture that was set up after this one, leaves something behind.

    Tasks are looked for when an async test has returned, before its async fixtures end: those that
    no nursery, no task group and no other task waits for.
    """
    block = _leaks.no_leaks()
    with block:
        request.node.stash[BLOCK] = block
        try:
            yield
        finally:
            del request.node.stash[BLOCK]


# Outside of the hooks of those who run async tests: they take the function that is there, and where
# hypothesis fills a test, the one inside. So the look is in their event loop, whoever they are.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    block = item.stash.get(BLOCK, None)
    if block is None or not isinstance(item, pytest.Function):
        return (yield)
    holder: Any = item
    attribute = "obj"
    if hasattr(item.obj, "hypothesis"):
        holder, attribute = item.obj.hypothesis, "inner_test"
    test = getattr(holder, attribute)
    if not is_async(test):
        return (yield)

    @functools.wraps(test)
    async def watched(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        await block._watch(test(*args, **kwargs))

    setattr(holder, attribute, watched)
    try:
        return (yield)
    finally:
        setattr(holder, attribute, test)  # it may be run once more, in another block
