# docs/guides/components.md: a component, its configuration, and what may be loaded.

# [clock]
import json
from typing import Any, Self

from pydantic import BaseModel, SecretStr

from trio_agents import (
    Component,
    ComponentBase,
    ComponentLoader,
    ComponentPolicy,
    use_component_policy,
)
from trio_agents.exceptions import ComponentError, ComponentNotAllowed


class WeatherConfig(BaseModel):
    city: str
    api_key: SecretStr | None = None


class Weather(ComponentBase[BaseModel], Component[WeatherConfig]):
    """Knows the weather of one city."""

    component_type = "weather"
    component_config_schema = WeatherConfig
    component_version = 2

    def __init__(self, city: str, api_key: SecretStr | None = None) -> None:
        self.city = city
        self.api_key = api_key

    def _to_config(self) -> WeatherConfig:
        return WeatherConfig(city=self.city, api_key=self.api_key)

    @classmethod
    def _from_config(cls, config: WeatherConfig) -> Self:
        return cls(config.city, config.api_key)

    @classmethod
    def _from_config_past_version(cls, config: dict[str, Any], version: int) -> Self:
        return cls(config["place"])  # what version 1 called it


# [/clock]
# [dump]
weather = Weather("Oslo", SecretStr("the key"))
model = weather.dump_component()
again = Weather.load_component(model)
assert again.api_key == SecretStr("the key")

text = model.model_dump_json(exclude_none=True)
print(json.loads(text)["config"])
# [/dump]
# [masked]
from_text = Weather.load_component(json.loads(text))
print(from_text.api_key)
# [/masked]


# [errors]
def attempt(**fields: Any) -> None:
    description: dict[str, Any] = {"provider": "__main__.Weather", "config": {}, **fields}
    try:
        print(Weather.load_component(description).city)
    except ComponentError as exc:
        print(exc)


attempt(component_version=1, config={"place": "Bergen"})
attempt(config={"city": 5})
attempt(component_version=3)
attempt(component_type="model")
# [/errors]
# [policy]
written_by_others: dict[str, Any] = {"provider": "__main__.Weather", "config": {"city": "Oslo"}}
try:
    ComponentLoader.load_component(written_by_others)
except ComponentNotAllowed:
    print("not allowed")

policy = ComponentPolicy(classes=[Weather], namespaces=["my_app.agents"])
loaded = ComponentLoader.load_component(written_by_others, Weather, policy=policy)
with use_component_policy(policy):
    loaded = ComponentLoader.load_component(written_by_others, Weather)
print(loaded.city)
# [/policy]

# Prints:
# {'city': 'Oslo', 'api_key': '**********'}
# None
# Bergen
# __main__.Weather: its configuration is not valid: city: Input should be a valid string
# __main__.Weather: its configuration is of version 3, and the class of 2
# __main__.Weather is a component of type 'weather', not 'model'
# not allowed
# Oslo
