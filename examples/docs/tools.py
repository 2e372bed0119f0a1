# docs/guides/tools.md: functions, classes and workbenches, without an agent.

import json
from typing import Annotated, Literal, Self

import trio
from pydantic import BaseModel, Field

from trio_agents import CancellationToken, Component, ComponentPolicy
from trio_agents.tools import (
    BaseTool,
    BaseToolWithState,
    FunctionTool,
    StaticWorkbench,
    ToolOverride,
    Workbench,
)


# [function]
async def get_price(
    ticker: str,
    date: Annotated[str, "as YYYY/MM/DD"],
    currency: Literal["EUR", "USD"] = "USD",
) -> float:
    await trio.sleep(0.01)  # a service is asked
    return {"EUR": 170.2, "USD": 185.4}[currency]


price_tool = FunctionTool(get_price, description="Get the price of a stock.")
# [/function]


# [class]
class RateArgs(BaseModel):
    currency: str = Field(description="as in USD")


class RateConfig(BaseModel):
    rates: dict[str, float]


class RateTool(BaseTool[RateArgs, float], Component[RateConfig]):
    """Knows exchange rates."""

    component_config_schema = RateConfig
    component_provider_override = "my_app.tools.RateTool"

    def __init__(self, rates: dict[str, float]) -> None:
        super().__init__(RateArgs, float, "get_rate", "Get what a euro costs.")
        self._rates = rates

    async def run(self, args: RateArgs, cancellation_token: CancellationToken) -> float:
        return self._rates[args.currency]

    def _to_config(self) -> RateConfig:
        return RateConfig(rates=self._rates)

    @classmethod
    def _from_config(cls, config: RateConfig) -> Self:
        return cls(config.rates)


# [/class]


# [state]
class Nothing(BaseModel): ...


class Count(BaseModel):
    count: int = 0


class CountTool(BaseToolWithState[Nothing, int, Count]):
    def __init__(self) -> None:
        super().__init__(Nothing, int, Count, "count", "Count one further.")
        self._state = Count()

    async def run(self, args: Nothing, cancellation_token: CancellationToken) -> int:
        self._state.count += 1
        return self._state.count

    def save_state(self) -> Count:
        return self._state

    def load_state(self, state: Count) -> None:
        self._state = state


# [/state]


async def run_it() -> None:
    # [run]
    arguments = {"ticker": "AAPL", "date": "2021/01/01"}
    value = await price_tool.run_json(arguments, CancellationToken())
    print(price_tool.return_value_as_string(value))
    # [/run]


async def call_it() -> None:
    # [workbench]
    overrides = {"get_price": ToolOverride(name="price", description="What a share costs.")}
    async with StaticWorkbench([price_tool, CountTool()], overrides) as workbench:
        print([tool["name"] for tool in await workbench.list_tools()])
        for name, call in [
            ("price", {"ticker": "AAPL", "date": "2021/01/01", "currency": "EUR"}),
            ("price", {"ticker": "AAPL"}),
            ("prize", {}),
        ]:
            result = await workbench.call_tool(name, call)
            print("error:" if result.is_error else "result:", result.to_text())
    # [/workbench]


async def load_it() -> None:
    # [safe]
    saved = StaticWorkbench([RateTool({"USD": 1.09})]).dump_component()
    workbench = Workbench.load_component(saved, policy=ComponentPolicy(classes=[RateTool]))
    result = await workbench.call_tool("get_rate", {"currency": "USD"})
    print(result.to_text())
    # [/safe]


async def main() -> None:
    print(json.dumps(price_tool.schema, indent=1))
    await run_it()
    await call_it()
    await load_it()


if __name__ == "__main__":
    trio.run(main)

# Prints:
# {
#  "name": "get_price",
#  "description": "Get the price of a stock.",
#  "parameters": {
#   "type": "object",
#   "properties": {
#    "ticker": {
#     "description": "ticker",
#     "title": "Ticker",
#     "type": "string"
#    },
#    "date": {
#     "description": "as YYYY/MM/DD",
#     "title": "Date",
#     "type": "string"
#    },
#    "currency": {
#     "default": "USD",
#     "description": "currency",
#     "enum": [
#      "EUR",
#      "USD"
#     ],
#     "title": "Currency",
#     "type": "string"
#    }
#   },
#   "required": [
#    "ticker",
#    "date"
#   ],
#   "additionalProperties": false
#  },
#  "strict": false
# }
# 185.4
# ['price', 'count']
# result: 170.2
# error: arguments of price: date: Field required
# error: There is no tool 'prize'. The tools are: price, count.
# 1.09
