"""Which components may be loaded is what the program says, and what installed packages announce."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import anyio
import anyio.to_thread
import pytest
from pydantic import BaseModel

import trio_agents
import trio_agents.asyncio
from trio_agents import (
    AgentId,
    CacheStore,
    Component,
    ComponentBase,
    ComponentLoader,
    ComponentPolicy,
    InMemoryStore,
    MessageContext,
    RoutedAgent,
    check_code_is_allowed,
    current_component_policy,
    rpc,
    use_component_policy,
)
from trio_agents._components._providers import ALIASES, OWN_PROVIDERS
from trio_agents.exceptions import ComponentError, ComponentNotAllowed

COMPONENT = """
    from pydantic import BaseModel
    from trio_agents import Component, ComponentBase

    class Config(BaseModel):
        pass

    class {name}(ComponentBase[BaseModel], Component[Config]):
        component_type = "tool"
        component_config_schema = Config

        def _to_config(self):
            return Config()

        @classmethod
        def _from_config(cls, config):
            return cls()
"""


def component(name: str, more: str = "") -> str:
    return textwrap.dedent(COMPONENT.format(name=name)) + textwrap.dedent(more)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write modules that can be imported, and what a distribution announces of them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(announces: dict[str, str] | None = None, /, **modules: str) -> None:
        for name, source in modules.items():
            path = tmp_path.joinpath(*name.split("__DOT__")).with_suffix(".py")
            for package in path.relative_to(tmp_path).parents:
                if package != Path():
                    (tmp_path / package).mkdir(parents=True, exist_ok=True)
                    (tmp_path / package / "__init__.py").touch()
            path.write_text(source, encoding="utf-8")
        if announces is not None:
            number = len(list(tmp_path.glob("*.dist-info")))
            info = tmp_path / f"dist{number}-1.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Name: dist{number}\nVersion: 1\n")
            lines = [f"{name} = {value}" for name, value in announces.items()]
            (info / "entry_points.txt").write_text(
                "\n".join(["[trio_agents.components]", *lines, ""])
            )
            # What is installed is looked at once for each sys.path.
            monkeypatch.syspath_prepend(str(tmp_path / f"changes_the_path_{number}"))
        importlib.invalidate_caches()

    yield install
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def load(provider: str, policy: ComponentPolicy | None = None) -> Any:
    return ComponentLoader.load_component({"provider": provider, "config": {}}, policy=policy)


# Entry points


# CMP-27
def test_what_an_installed_package_announces_is_loaded_by_its_name(
    install: Callable[..., None],
) -> None:
    install({"acme_tool": "acme.tools:Tool"}, acme__DOT__tools=component("Tool"))
    assert type(load("acme_tool")).__name__ == "Tool"


# CMP-26 CMP-27
def test_what_an_installed_package_announces_dumps_and_loads(install: Callable[..., None]) -> None:
    install({"acme_tool": "acme.tools:Tool"}, acme__DOT__tools=component("Tool"))
    dumped = load("acme_tool").dump_component()
    assert dumped.provider == "acme.tools.Tool"
    assert load(dumped.provider).dump_component() == dumped


def test_what_is_announced_is_imported_when_it_is_asked_for_and_nothing_beside_it(
    install: Callable[..., None],
) -> None:
    install(
        {"one": "acme.one:One", "two": "acme.two:Two"},
        acme__DOT__one=component("One"),
        acme__DOT__two=component("Two"),
        acme__DOT__three=component("Three"),
    )
    load("one")
    assert "acme.one" in sys.modules
    with pytest.raises(ComponentNotAllowed):
        load("acme.three.Three")
    assert not {"acme.two", "acme.three"} & sys.modules.keys()


def test_an_entry_point_cannot_take_a_name_of_ours(install: Callable[..., None]) -> None:
    names = ["trio_agents.InMemoryStore", "autogen_core.InMemoryStore"]
    install(dict.fromkeys(names, "evil:Store"), evil=component("Store"))
    for name in names:
        assert type(load(name)) is InMemoryStore
    assert "evil" not in sys.modules


def test_a_name_that_two_packages_announce_is_refused(install: Callable[..., None]) -> None:
    install({"tool": "one:Tool"}, one=component("Tool"))
    install({"tool": "two:Tool"}, two=component("Tool"))
    with pytest.raises(ComponentError, match="announced as one:Tool and two:Tool"):
        load("tool")
    assert load("two.Tool")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("missing:Tool", "No module named 'missing'"),
        ("acme:Missing", "Missing"),
        ("acme:value", "is no class"),
        ("acme:Config", "is no component"),
    ],
)
def test_an_entry_point_that_is_wrong_says_what_it_is(
    install: Callable[..., None], value: str, reason: str
) -> None:
    install({"tool": value}, acme=component("Tool", "value = 5"))
    with pytest.raises(ComponentError, match=reason):
        load("tool")


# Namespaces


# CMP-27
def test_a_class_in_a_namespace_is_loaded(install: Callable[..., None]) -> None:
    install(my_app__DOT__agents__DOT__tools=component("Tool"))
    name = "my_app.agents.tools.Tool"
    for namespace in ("my_app", "my_app.agents", "my_app.agents.tools"):
        tool = load(name, ComponentPolicy(namespaces=[namespace]))
        assert tool.dump_component().provider == name
    with pytest.raises(ComponentNotAllowed, match=r"namespaces=\['my_app.agents.tools'\]"):
        load(name)


@pytest.mark.parametrize(
    "provider",
    [
        "my_app_evil.Tool",
        "my_app_evil.tools.Tool",
        "my_appevil.Tool",
        "my.Tool",
        "my_app",
        "MY_APP.tools.Tool",
        "evil.my_app.Tool",
        "my_app.__main__.Tool",
        "my_app.tools.__main__.Tool",
        "my_app.__init__.Tool",
    ],
)
def test_what_only_looks_like_a_namespace_is_not_imported(
    install: Callable[..., None], provider: str
) -> None:
    bomb = "raise SystemExit('imported')"
    install(
        my_app__DOT__tools=component("Tool"),
        my_app__DOT____main__=bomb,
        my_app_evil__DOT__tools=bomb,
        my_appevil=bomb,
        my=bomb,
        evil__DOT__my_app=bomb,
    )
    before = set(sys.modules)
    with pytest.raises(ComponentNotAllowed):
        load(provider, ComponentPolicy(namespaces=["my_app"]))
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "attribute",
    ["Popen", "system", "os.system", "subprocess.Popen", "Tool.__class__", "Tool.__base__"],
)
def test_what_a_module_has_imported_from_elsewhere_is_refused(
    install: Callable[..., None], attribute: str
) -> None:
    imports = "import os, subprocess\nfrom subprocess import Popen\nfrom os import system\n"
    install(my_app=component("Tool", imports))
    with pytest.raises(ComponentError, match=r"not in the namespaces my_app|there is no|no class"):
        load(f"my_app.{attribute}", ComponentPolicy(namespaces=["my_app"]))


def test_a_namespace_is_a_module_and_no_class(install: Callable[..., None]) -> None:
    install(my_app=component("Tool", "Tool.Inner = type('Inner', (Tool,), {})"))
    with pytest.raises(ComponentError, match=r"there is no my_app\.Tool\.Inner"):
        load("my_app.Tool.Inner", ComponentPolicy(namespaces=["my_app.Tool"]))


def test_only_classes_are_asked_for_what_is_inside_of_them(install: Callable[..., None]) -> None:
    lazy = """
        class Lazy:
            def __getattr__(self, name):
                raise SystemExit(f"{name} was asked for")

        lazy = Lazy()
    """
    install(my_app=component("Tool", lazy))
    with pytest.raises(ComponentError, match="is no class"):
        load("my_app.lazy.Tool", ComponentPolicy(namespaces=["my_app"]))


def test_a_class_from_another_module_of_a_namespace_is_loaded(
    install: Callable[..., None],
) -> None:
    install(
        my_app__DOT___impl=component("Tool"),
        my_app__DOT__tools="from my_app._impl import Tool",
    )
    with pytest.raises(ComponentNotAllowed):
        load("my_app.tools.Tool", ComponentPolicy(namespaces=["my_app.tools"]))
    assert load("my_app.tools.Tool", ComponentPolicy(namespaces=["my_app"]))


def test_what_a_namespace_lacks_is_an_error_that_says_so(install: Callable[..., None]) -> None:
    install(
        my_app__DOT__tools=component("Tool"),
        my_app__DOT__broken="import no_such_module_at_all",
        my_app__DOT__refuses="raise ImportError('not on this machine')",
    )
    policy = ComponentPolicy(namespaces=["my_app", "not_there"])
    for provider, reason in {
        "my_app.tools.Missing": "there is no my_app.tools.Missing",
        "my_app.missing.Tool": "there is no my_app.missing.Tool",
        "my_app.broken.Tool": "no_such_module_at_all",
        "my_app.refuses.Tool": "not on this machine",
        "not_there.Tool": "not_there",
        "not_there.deep.Tool": "not_there",
        "my_app.tools.Config": "is no component",
    }.items():
        with pytest.raises(ComponentError, match=reason):
            load(provider, policy)


# Classes of the program


class Config(BaseModel):
    pass


class Mine(ComponentBase[BaseModel], Component[Config]):
    component_type = "tool"
    component_config_schema = Config
    component_provider_override: ClassVar[str | None] = "OpenAIChatCompletionClient"

    def _to_config(self) -> Config:
        return Config()

    @classmethod
    def _from_config(cls, config: Config) -> Self:
        return cls()


def test_a_class_of_the_program_comes_before_names_of_ours() -> None:
    assert ALIASES["OpenAIChatCompletionClient"] in OWN_PROVIDERS
    assert isinstance(load("OpenAIChatCompletionClient", ComponentPolicy(classes=[Mine])), Mine)

    class Stub(Mine):
        component_provider_override = ALIASES["OpenAIChatCompletionClient"]

    policy = ComponentPolicy(classes=[Stub])
    assert isinstance(load("openai_chat_completion_client", policy), Stub)


def test_the_class_that_is_asked_may_always_be_loaded() -> None:
    assert isinstance(Mine.load_component(Mine().dump_component()), Mine)
    with pytest.raises(ComponentError, match="is a InMemoryStore, and no Mine"):
        Mine.load_component({"provider": "trio_agents.InMemoryStore", "config": {}})


def test_a_class_may_have_a_name_that_data_could_not() -> None:
    class Größe(Mine):
        component_provider_override = "__main__.Größe"

    model = Größe().dump_component()
    assert isinstance(Größe.load_component(model), Größe)
    assert isinstance(load(model.provider, ComponentPolicy(classes=[Größe])), Größe)
    with pytest.raises(ComponentNotAllowed):
        load(model.provider)


# CMP-18
@pytest.mark.parametrize("alias", ["autogen_core.InMemoryStore", "trio_agents.InMemoryStore"])
def test_names_that_autogen_writes_are_aliases(alias: str) -> None:
    assert type(CacheStore.load_component({"provider": alias, "config": {}})) is InMemoryStore


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ({"namespaces": "my_app"}, TypeError, r"\['my_app'\], not one"),
        ({"namespaces": [5]}, TypeError, "a namespace is a string, not int"),
        ({"namespaces": [""]}, ValueError, "dotted path"),
        ({"namespaces": ["my app"]}, ValueError, "dotted path"),
        ({"namespaces": [".my_app"]}, ValueError, "dotted path"),
        ({"namespaces": ["my_app."]}, ValueError, "dotted path"),
        ({"namespaces": ["größe"]}, ValueError, "dotted path"),
        ({"classes": InMemoryStore}, TypeError, r"\[InMemoryStore\], not one"),
        ({"classes": ["x.Y"]}, TypeError, "classes must be classes, not str"),
        ({"code": "no"}, TypeError, "bool"),
    ],
)
def test_a_policy_that_means_nothing_cannot_be_made(
    arguments: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        ComponentPolicy(**arguments)


def test_two_classes_of_one_name_are_refused() -> None:
    class Other(Mine):
        component_provider_override = Mine.component_provider_override

    with pytest.raises(ValueError, match="two classes have the provider OpenAI"):
        ComponentPolicy(classes=[Mine, Other])
    assert ComponentPolicy(classes=[Mine, Mine])


# Where a policy holds

OPEN = ComponentPolicy(code=True, namespaces=["my_app"])
SAFE = ComponentPolicy()


def test_nothing_is_allowed_until_the_program_says_so() -> None:
    assert contextvars.Context().run(current_component_policy) == SAFE
    with pytest.raises(ComponentNotAllowed, match="carries source_code, which would be run"):
        check_code_is_allowed("a.Tool", "source_code")


def test_a_policy_holds_for_the_block_also_if_that_fails() -> None:
    before = current_component_policy()
    with use_component_policy(OPEN):
        assert current_component_policy() is OPEN
        check_code_is_allowed("a.Tool", "source_code")
        with use_component_policy(SAFE):
            assert current_component_policy() is SAFE
        assert current_component_policy() is OPEN
        with pytest.raises(RuntimeError), use_component_policy(SAFE):
            raise RuntimeError
        assert current_component_policy() is OPEN
    assert current_component_policy() is before


def test_a_policy_holds_for_the_program_without_a_block() -> None:
    def program() -> None:
        use_component_policy(OPEN)
        assert current_component_policy() is OPEN

    contextvars.copy_context().run(program)
    assert current_component_policy() == SAFE


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a ComponentPolicy, not dict"):
        use_component_policy({"code": True})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a ComponentPolicy, not bool"):
        load("trio_agents.InMemoryStore", True)  # type: ignore[arg-type]


class Watcher(ComponentBase[BaseModel], Component[Config]):
    component_type = "tool"
    component_config_schema = Config

    def __init__(self) -> None:
        self.policy = current_component_policy()

    @classmethod
    def _from_config(cls, config: Config) -> Self:
        return cls()


def test_the_policy_of_a_call_holds_while_it_loads_and_no_longer() -> None:
    model = {"provider": f"{Watcher.__module__}.Watcher", "config": {}}
    with use_component_policy(SAFE):
        assert Watcher.load_component(model).policy is SAFE
        assert Watcher.load_component(model, policy=OPEN).policy is OPEN
        assert current_component_policy() is SAFE
        with pytest.raises(ComponentError):
            Watcher.load_component(model | {"version": 9}, policy=OPEN)
        assert current_component_policy() is SAFE


async def test_a_policy_goes_along_into_tasks_and_does_not_come_back_out() -> None:
    seen: dict[str, ComponentPolicy] = {}

    async def inside(name: str, policy: ComponentPolicy | None = None) -> None:
        if policy is not None:
            use_component_policy(policy)
        await anyio.lowlevel.checkpoint()
        seen[name] = current_component_policy()

    with use_component_policy(OPEN):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inside, "inherits")
            tasks.start_soon(inside, "has its own", SAFE)
        assert current_component_policy() is OPEN
    assert seen == {"inherits": OPEN, "has its own": SAFE}


async def test_a_policy_goes_along_into_worker_threads_but_not_into_bare_ones() -> None:
    found: list[ComponentPolicy] = []
    with use_component_policy(OPEN):
        assert await anyio.to_thread.run_sync(current_component_policy) is OPEN
        thread = threading.Thread(
            target=lambda: found.append(current_component_policy()), name="bare"
        )
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
    assert found == [SAFE]


def test_a_policy_goes_along_with_to_thread_of_asyncio_but_not_with_its_executor() -> None:
    async def main() -> list[ComponentPolicy]:
        loop = asyncio.get_running_loop()
        with use_component_policy(OPEN):
            return [
                await asyncio.to_thread(current_component_policy),
                await loop.run_in_executor(None, current_component_policy),
            ]

    assert asyncio.run(main()) == [OPEN, SAFE]


class Asked(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("asked")
        self.made_under = current_component_policy()

    @rpc
    async def answer(self, message: Config, ctx: MessageContext) -> bool:
        return self.made_under is OPEN and current_component_policy() is OPEN


async def test_a_policy_of_the_program_holds_in_agents(backend: str) -> None:
    door = trio_agents if backend == "trio" else trio_agents.asyncio
    with use_component_policy(OPEN):
        async with door.open_runtime() as runtime:
            await Asked.register(runtime, "asked", Asked)
            assert await runtime.send_message(Config(), AgentId("asked", "x"))
