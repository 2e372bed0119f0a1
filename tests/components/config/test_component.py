"""Components are described by data, and made from it."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast, runtime_checkable

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, ConfigDict, Field, computed_field, field_validator

import trio_agents
from trio_agents import (
    CacheStore,
    Component,
    ComponentBase,
    ComponentFromConfig,
    ComponentLoader,
    ComponentModel,
    ComponentPolicy,
    ComponentSchemaType,
    ComponentToConfig,
    InMemoryStore,
    is_component_class,
    is_component_instance,
)
from trio_agents.exceptions import ComponentError, ComponentNotAllowed
from trio_agents.models import ChatCompletionClient
from trio_agents.tools import Workbench


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    name: str
    weight: float | None = None
    spare: int | None = 3


class Hands(BaseModel):
    hands: int | None = None


class Digits(BaseModel):
    digits: int | None = None


class ClockConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    zone: str = "UTC"
    offset: int | None = 7
    note: str | None = None
    when: datetime | None = None
    every: timedelta = timedelta(seconds=1)
    color: Color = Color.RED
    path: Path = Path()
    parts: list[Part] = []
    limits: dict[str, int | None] = {}
    timeout: float = math.inf
    face: Hands | Digits | None = None
    faces: list[Hands | Digits] = []
    pair: tuple[int, str] = (1, "a")
    title: str = Field(default="", alias="Title")

    @computed_field
    def size(self) -> int:
        return len(self.parts)

    @field_validator("zone")
    @classmethod
    def check_zone(cls, zone: str) -> str:
        if zone == "nowhere":
            raise ValueError("there is no such zone")
        return zone


class ClockBase(ComponentBase[BaseModel], ABC):
    component_type = "clock"

    @abstractmethod
    def time(self) -> str: ...


class Clock(ClockBase, Component[ClockConfig]):
    """Tells the time.

    And nothing else.
    """

    component_config_schema = ClockConfig
    component_version = 3
    made: ClassVar[int] = 0

    def __init__(self, config: ClockConfig) -> None:
        self.config = config

    def time(self) -> str:
        return self.config.zone

    def _to_config(self) -> ClockConfig:
        return self.config

    @classmethod
    def _from_config(cls, config: ClockConfig) -> Self:
        return cls(config)

    @classmethod
    def _from_config_past_version(cls, config: dict[str, Any], version: int) -> Self:
        return cls(ClockConfig(zone=f"{config['tz']} of version {version}"))

    class Alarm(ClockBase, Component[Part]):
        component_config_schema = Part

        def time(self) -> str:
            return "now"

        def _to_config(self) -> Part:
            return Part(name="x")

        @classmethod
        def _from_config(cls, config: Part) -> Self:
            return cls()


class Bare(ClockBase, Component[Part]):
    component_config_schema = Part

    def time(self) -> str:
        return ""


CLOCKS = ComponentPolicy(classes=[Clock, Clock.Alarm, Bare])
NAME = f"{Clock.__module__}.Clock"


def load(**fields: Any) -> Any:
    return ClockBase.load_component({"provider": NAME, "config": {}, **fields}, policy=CLOCKS)


FACES = st.builds(Hands, hands=st.none() | st.integers()) | st.builds(
    Digits, digits=st.none() | st.integers()
)
CONFIGS = st.builds(
    ClockConfig,
    zone=st.text().filter(lambda zone: zone != "nowhere"),
    offset=st.none() | st.integers(),
    note=st.none() | st.text(),
    when=st.none() | st.datetimes(),
    every=st.timedeltas(timedelta(-1000), timedelta(1000)),
    color=st.sampled_from(Color),
    parts=st.lists(
        st.builds(
            Part,
            name=st.text(),
            weight=st.none() | st.floats(allow_nan=False),
            spare=st.none() | st.integers(-9, 9),
        ),
        max_size=3,
    ),
    limits=st.dictionaries(st.text(), st.none() | st.integers(), max_size=3),
    timeout=st.floats(allow_nan=False),
    face=st.none() | FACES,
    faces=st.lists(FACES, max_size=3),
    pair=st.tuples(st.integers(), st.text()),
    Title=st.text(),
)


# CMP-11 CMP-12 CMP-14 CMP-26
@given(CONFIGS)
def test_what_is_dumped_loads_as_its_equal(config: ClockConfig) -> None:
    dumped = Clock(config).dump_component()
    loaded = ClockBase.load_component(dumped, policy=CLOCKS)
    assert isinstance(loaded, Clock)
    assert loaded.config == config
    assert loaded.dump_component() == dumped


# CMP-26
@given(CONFIGS)
def test_what_went_through_json_loads_as_its_equal(config: ClockConfig) -> None:
    text = Clock(config).dump_component().model_dump_json()
    loaded = ClockBase.load_component(json.loads(text), policy=CLOCKS)
    assert isinstance(loaded, Clock)
    assert loaded.config == config


# CMP-14 CMP-17 CMP-22
def test_a_dump_says_what_it_is() -> None:
    dumped = Clock(ClockConfig(note="hi")).dump_component()
    assert dumped.provider == NAME
    assert dumped.component_type == "clock"
    assert (dumped.version, dumped.component_version) == (1, 3)
    assert dumped.label == "Clock"
    assert dumped.config["note"] == "hi"
    assert "when" not in dumped.config


# CMP-09
def test_the_description_is_the_beginning_of_the_docstring() -> None:
    assert Clock(ClockConfig()).dump_component().description == "Tells the time."
    assert Clock.Alarm().dump_component().description is None


# CMP-09 CMP-10 CMP-08
def test_description_label_and_provider_can_be_set() -> None:
    class Named(Clock):
        component_description = "a clock"
        component_label = "the clock"
        component_provider_override = "clocks.Named"

    dumped = Named(ClockConfig()).dump_component()
    assert (dumped.description, dumped.label) == ("a clock", "the clock")
    assert dumped.provider == "clocks.Named"
    assert isinstance(Named.load_component(dumped), Named)


# CMP-08
def test_a_subclass_does_not_dump_itself_as_its_base() -> None:
    dumped = Remembering().dump_component()
    assert dumped.provider == f"{Remembering.__module__}.Remembering"
    loaded = CacheStore.load_component(dumped, policy=ComponentPolicy(classes=[Remembering]))
    assert isinstance(loaded, Remembering)


class Remembering(InMemoryStore[Any]):
    pass


def test_a_class_inside_of_a_class_is_found_again() -> None:
    dumped = Clock.Alarm().dump_component()
    assert dumped.provider.endswith(".Clock.Alarm")
    policy = ComponentPolicy(namespaces=[Clock.__module__])
    assert isinstance(ComponentLoader.load_component(dumped, policy=policy), Clock.Alarm)


def test_a_local_class_cannot_be_dumped() -> None:
    class Local(Clock):
        pass

    with pytest.raises(ComponentError, match="defined inside of a function"):
        Local(ClockConfig()).dump_component()


def test_a_class_without_a_type_cannot_be_dumped() -> None:
    with pytest.raises(ComponentError, match="no component_type"):
        Typeless().dump_component()


class Typeless(ComponentBase[Part]):
    def _to_config(self) -> Part:
        return Part(name="x")


# CMP-11 CMP-12 CMP-13
def test_a_class_that_does_not_say_how_names_what_it_lacks() -> None:
    with pytest.raises(NotImplementedError, match=r"Bare has no _to_config"):
        Bare().dump_component()
    bare = {"provider": f"{Bare.__module__}.Bare", "config": {"name": "x"}}
    with pytest.raises(ComponentError, match=r"Bare has no _from_config: it cannot"):
        ComponentLoader.load_component(bare, policy=CLOCKS)
    with pytest.raises(ComponentError, match=r"_from_config_past_version.* version 0"):
        ComponentLoader.load_component(bare | {"component_version": 0}, policy=CLOCKS)


# CMP-16 CMP-19 CMP-20 CMP-21
def test_provider_and_config_are_enough() -> None:
    assert load(config={"zone": "CET"}).time() == "CET"
    assert InMemoryStore.load_component({"provider": "trio_agents.InMemoryStore", "config": {}})


# CMP-15
def test_a_description_may_be_a_model_a_mapping_or_that_of_autogen() -> None:
    autogen_core = pytest.importorskip("autogen_core")
    fields = {"provider": "autogen_core.InMemoryStore", "config": {}}
    for model in (ComponentModel(**fields), fields, autogen_core.ComponentModel(**fields)):
        assert isinstance(CacheStore.load_component(model), InMemoryStore)


def test_a_description_is_judged_as_it_is_now() -> None:
    model = ComponentModel(provider=NAME, config={})
    model.provider = cast("Any", 5)
    with pytest.raises(ComponentError, match="describes no component: provider"):
        ClockBase.load_component(model)


# CMP-17
def test_the_model_has_the_schema_of_autogens() -> None:
    autogen_core = pytest.importorskip("autogen_core")
    ours, theirs = (
        each.model_json_schema() for each in (ComponentModel, autogen_core.ComponentModel)
    )
    assert ours["properties"].keys() == theirs["properties"].keys()
    assert ours["required"] == theirs["required"]


@pytest.mark.parametrize("model", [None, 5, "x", [], [("provider", NAME), ("config", {})]])
def test_what_is_no_description_is_named(model: Any) -> None:
    with pytest.raises(ComponentError, match="expected a ComponentModel or a mapping"):
        ClockBase.load_component(model)


# CMP-15
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"config": {"zone": 5}}, rf"{NAME}: its configuration is not valid: zone: .*string"),
        ({"config": {"zone": "nowhere"}}, "zone: .*there is no such zone"),
        ({"config": {"parts": [{"name": "x"}, {}]}}, r"parts\.1\.name: Field required"),
        ({"config": {"colour": "red"}}, "colour: Extra inputs are not permitted"),
        ({"config": {"parts": [{}] * 20}}, "and 12 more"),
        ({"component_type": "model"}, rf"{NAME} is a component of type 'clock', not 'model'"),
        ({"component_version": 4}, rf"{NAME}: .* is of version 4, and the class of 3"),
        ({"version": 2}, r"version 2 of the specification, this library knows 1"),
        ({"version": 0}, r"version 0 of the specification"),
    ],
)
def test_an_error_names_provider_field_and_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ComponentError, match=reason):
        load(**fields)


def test_an_exception_of_the_constructor_says_what_was_loaded() -> None:
    class Broken(Clock):
        def __init__(self, config: ClockConfig) -> None:
            raise OSError("no battery")

    with pytest.raises(OSError, match="no battery") as caught:
        Broken.load_component({"provider": provider_of(Broken), "config": {}})
    assert any("Broken" in note for note in caught.value.__notes__)


def provider_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# CMP-07 CMP-13
def test_only_a_lower_version_is_a_past_one_and_comes_unchecked() -> None:
    assert load(component_version=2, config={"tz": "CET"}).time() == "CET of version 2"
    assert load(component_version=3, config={"zone": "CET"}).time() == "CET"
    assert load(config={"zone": "CET"}).time() == "CET"


# CMP-15
def test_another_kind_is_refused_before_it_is_made() -> None:
    made: list[object] = []

    class Loud(Clock):
        def __init__(self, config: ClockConfig) -> None:
            made.append(self)

    model = {"provider": provider_of(Loud), "config": {}}
    policy = ComponentPolicy(classes=[Loud])
    for wanted in (ChatCompletionClient, Workbench, InMemoryStore):
        with pytest.raises(ComponentError, match=rf"is a Loud, and no {wanted.__name__}"):
            wanted.load_component(model, policy=policy)
        with pytest.raises(ComponentError, match=rf"is a Loud, and no {wanted.__name__}"):
            ComponentLoader.load_component(model, wanted, policy=policy)
    assert made == []


@runtime_checkable
class Sized(Protocol):
    @property
    def length(self) -> int: ...


# CMP-15
def test_a_protocol_or_a_generic_may_be_expected() -> None:
    model = {"provider": NAME, "config": {}}
    with pytest.raises(ComponentError, match="made a Clock, and no Sized"):
        ComponentLoader.load_component(model, Sized, policy=CLOCKS)
    store = {"provider": "trio_agents.InMemoryStore", "config": {}}
    assert ComponentLoader.load_component(store, CacheStore[int])
    assert CacheStore[int].load_component(store)


# CMP-02
@pytest.mark.parametrize("cls", [ClockBase, CacheStore, ComponentLoader])
def test_an_interface_cannot_be_loaded(cls: type[ComponentLoader]) -> None:
    with pytest.raises(ComponentError, match="is no component"):
        cls.load_component({"provider": provider_of(cls), "config": {}})


def test_a_complete_but_abstract_class_cannot_be_loaded() -> None:
    class Half(ClockBase, Component[Part], ABC):
        component_config_schema = Part

    with pytest.raises(ComponentError, match="is abstract"):
        Half.load_component({"provider": provider_of(Half), "config": {"name": "x"}})


# CMP-24
def test_is_component() -> None:
    class Unconfigurable(ClockBase):
        def time(self) -> str:
            return ""

    assert is_component_class(Clock)
    assert is_component_class(InMemoryStore)
    assert is_component_instance(InMemoryStore[int]())
    assert not is_component_instance(Clock)  # the class is no instance of itself
    for no_component in (ClockBase, Unconfigurable, CacheStore, Component, ComponentBase, int):
        assert not is_component_class(no_component)
    assert not is_component_instance(Unconfigurable())
    assert not is_component_class(cast("Any", 5))


# Defining classes

T = TypeVar("T")


# CMP-01 CMP-04 CMP-05
def test_a_component_without_a_schema_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match=r"Bad is a component and has to define component_config"):

        class Bad(ClockBase, Component[Part]):
            pass


# CMP-04 CMP-06
def test_a_component_without_a_type_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="has to define component_type"):

        class Component(ComponentBase[Part], trio_agents.Component[Part]):
            component_config_schema = Part


# CMP-05
@pytest.mark.parametrize("schema", [dict, {}, "Part", Part(name="x")])
def test_a_schema_that_is_no_model_is_refused(schema: Any) -> None:
    with pytest.raises(TypeError, match="must be a pydantic model"):

        class Bad(ClockBase, Component[Part]):
            component_config_schema = schema


# CMP-04
def test_interfaces_in_between_need_nothing() -> None:
    class Middle(ClockBase, Component[Part], ABC):
        pass

    class Boxed(ClockBase, Component[Part], Generic[T]):
        pass

    class Concrete(Middle):
        component_config_schema = Part

    assert not is_component_class(Middle)
    assert not is_component_class(Boxed)
    assert is_component_class(Concrete)


# CMP-03
def test_the_two_bases_are_made_of_four_parts() -> None:
    assert issubclass(Component, ComponentFromConfig)
    assert issubclass(Component, ComponentSchemaType)
    assert issubclass(ComponentBase, ComponentToConfig)
    assert issubclass(ComponentBase, ComponentLoader)
    assert ComponentSchemaType.required_class_vars == ["component_config_schema", "component_type"]


# CMP-06
def test_a_kind_may_be_any_string() -> None:
    assert InMemoryStore.component_type == "cache_store"
    assert ComponentModel(provider="x", component_type="of my own", config={})


# Components inside of components


class BoxConfig(BaseModel):
    clock: ComponentModel | None = None
    box: ComponentModel | None = None


class Box(ComponentBase[BaseModel], Component[BoxConfig]):
    component_type = "box"
    component_config_schema = BoxConfig

    def __init__(self, clock: ClockBase | None, box: Box | None = None) -> None:
        self.clock = clock
        self.box = box

    def _to_config(self) -> BoxConfig:
        return BoxConfig(
            clock=self.clock and self.clock.dump_component(),
            box=self.box and self.box.dump_component(),
        )

    @classmethod
    def _from_config(cls, config: BoxConfig) -> Self:
        return cls(
            config.clock and ClockBase.load_component(config.clock),
            config.box and cls.load_component(config.box),
        )


def nested_box(depth: int) -> Mapping[str, Any]:
    model: dict[str, Any] = {"provider": provider_of(Box), "config": {}}
    for _ in range(depth - 1):
        model = {"provider": provider_of(Box), "config": {"box": model}}
    return model


# CMP-26
def test_components_inside_of_components_come_back() -> None:
    box = Box(Clock(ClockConfig(zone="CET")), Box(Clock.Alarm()))
    loaded = Box.load_component(box.dump_component(), policy=CLOCKS)
    assert isinstance(loaded.clock, Clock)
    assert loaded.clock.time() == "CET"
    assert loaded.box is not None
    assert isinstance(loaded.box.clock, Clock.Alarm)


def test_the_policy_holds_for_what_is_inside() -> None:
    box = Box(Clock(ClockConfig())).dump_component()
    with pytest.raises(ComponentNotAllowed, match="Clock"):
        Box.load_component(box)


def test_an_error_inside_says_whose_it_was() -> None:
    model = {"provider": provider_of(Box), "config": {"clock": {"provider": "os.x", "config": {}}}}
    with pytest.raises(ComponentNotAllowed, match=r"os\.x") as caught:
        Box.load_component(model)
    assert [note for note in caught.value.__notes__ if "Box" in note]


@pytest.mark.parametrize("depth", [33, 200, 5000])
def test_too_many_inside_of_each_other_are_refused(depth: int) -> None:
    assert Box.load_component(nested_box(32))
    with pytest.raises(ComponentError, match=r"more than 32 components are inside|nested too deep"):
        Box.load_component(nested_box(depth))
    assert Box.load_component(nested_box(32))


def test_a_description_that_contains_itself_is_refused() -> None:
    model = dict(nested_box(1))
    model["config"] = {"box": model}
    with pytest.raises(ComponentError):
        Box.load_component(model)


class Node(BaseModel):
    child: Node | None = None


class Tree(ComponentBase[BaseModel], Component[Node]):
    component_type = "tree"
    component_config_schema = Node


def test_a_configuration_that_is_nested_too_deep_is_refused() -> None:
    config: dict[str, Any] = {}
    for _ in range(5000):
        config = {"child": config}
    with pytest.raises(ComponentError, match=r"Tree: its configuration is not valid"):
        Tree.load_component({"provider": provider_of(Tree), "config": config})


# CMP-25 CMP-29
def test_a_description_is_a_blueprint_for_any_number() -> None:
    store = InMemoryStore[str]()
    store.set("a", "state")
    model = store.dump_component()
    one, two = (InMemoryStore[str].load_component(model) for _ in range(2))
    one.set("b", "x")
    assert model.config == {}
    assert (one.get("a"), two.get("b")) == (None, None)
