"""What type checkers infer about components. Checked by mypy and pyright, never run."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, Self, assert_type

from pydantic import BaseModel

from trio_agents import (
    Component,
    ComponentBase,
    ComponentLoader,
    ComponentModel,
    ComponentPolicy,
    Image,
    InMemoryStore,
    is_component_class,
    is_component_instance,
    use_component_policy,
)
from trio_agents.ext.cache_store.redis import RedisStore
from trio_agents.models import ChatCompletionClient, UserMessage
from trio_agents.tools import Workbench


class ClockConfig(BaseModel):
    zone: str


class Clock(ComponentBase[ClockConfig], Component[ClockConfig]):
    component_type = "clock"
    component_config_schema = ClockConfig

    def __init__(self, zone: str) -> None:
        self.zone = zone

    def _to_config(self) -> ClockConfig:
        return ClockConfig(zone=self.zone)

    @classmethod
    def _from_config(cls, config: ClockConfig) -> Self:
        return cls(config.zone)


def loading(model: ComponentModel, data: dict[str, Any]) -> None:
    # Called on what is wanted, it returns that.
    assert_type(Clock.load_component(model), Clock)
    assert_type(Clock.load_component(data), Clock)
    assert_type(ChatCompletionClient.load_component(data), ChatCompletionClient)
    assert_type(Workbench.load_component(model, policy=ComponentPolicy(code=True)), Workbench)
    assert_type(InMemoryStore[str].load_component(model), InMemoryStore[str])
    # On the loader itself, it returns what is expected.
    assert_type(ComponentLoader.load_component(model, Clock), Clock)
    assert_type(ComponentLoader.load_component(model, InMemoryStore[int]), InMemoryStore[int])
    Clock.load_component("clock")  # type: ignore[call-overload]
    Clock.load_component([model])  # type: ignore[call-overload]


def dumping(clock: Clock) -> None:
    assert_type(clock.dump_component(), ComponentModel)
    assert_type(clock.dump_component().config, dict[str, Any])
    assert_type(Clock.component_config_schema, type[ClockConfig])


def asking(value: object, cls: type) -> None:
    if is_component_instance(value):
        assert_type(value, Component[BaseModel])
    if is_component_class(cls):
        assert_type(cls, type[Component[BaseModel]])


def policies() -> None:
    with use_component_policy(ComponentPolicy(namespaces=["my_app"], classes=[Clock])):
        pass
    use_component_policy(ComponentPolicy())
    ComponentPolicy(code="yes")  # type: ignore[arg-type]


def stores(store: InMemoryStore[int], remote: RedisStore[dict[str, str]]) -> None:
    assert_type(store.get("a"), int | None)
    assert_type(store.get("a", 1), int | None)
    store.set("a", "b")  # type: ignore[arg-type]
    assert_type(remote.get("a"), dict[str, str] | None)


def pictures(image: Image) -> None:
    UserMessage(content=["look", image], source="user")
    assert_type(image.data_uri, str)
    assert_type(image.to_openai_format("low"), dict[str, Any])
    image.to_openai_format("best")  # type: ignore[arg-type]
    assert_type(Image.from_base64(""), Image)
