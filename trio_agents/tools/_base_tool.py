"""`BaseTool`: what tools have in common, from the check of their arguments to their traces.

A tool says what its arguments are and what it does with them; the rest is here. In particular a
cancelled token cancels whatever the tool waits for, so a tool needs no code for that.
"""

from __future__ import annotations

import copy
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel

from .._components._component import ComponentBase
from .._components._tool import Tool
from .._components._tool_schema import ParametersSchema, ToolSchema
from .._loops._token_scope import token_scope
from .._sansio._cancellation import CancellationToken
from .._sansio._errors import StateError
from .._sansio._events import ToolCallEvent
from .._sansio._genai_spans import trace_tool_span
from .._sansio._json import Fault, read_json
from .._sansio._json_pydantic import dump_model
from .._sansio._log_names import EVENT_LOGGER_NAME
from ._parameters import parameters_of
from ._text import text_of_value

__all__ = ["ArgsT", "BaseTool", "BaseToolWithState", "ReturnT", "StateT"]

ArgsT = TypeVar("ArgsT", bound=BaseModel, contravariant=True)
ReturnT = TypeVar("ReturnT", covariant=True)
StateT = TypeVar("StateT", bound=BaseModel)

_events: Final = logging.getLogger(EVENT_LOGGER_NAME)


class BaseTool(ABC, Tool, Generic[ArgsT, ReturnT], ComponentBase[BaseModel]):
    """A tool that is a class: it says what its arguments are, and runs.

    ::

        class Dice(BaseTool[DiceArgs, int]):
            def __init__(self) -> None:
                super().__init__(DiceArgs, int, "roll", "Roll a dice.")

            async def run(self, args: DiceArgs, cancellation_token: CancellationToken) -> int:
                return random.randint(1, args.sides)

    Derived from `Component` as well it can be dumped and loaded, without any code in its
    configuration.
    """

    component_type = "tool"

    def __init__(
        self,
        args_type: type[ArgsT],
        return_type: type[ReturnT],
        name: str,
        description: str,
        strict: bool = False,
    ) -> None:
        """Say what the tool is.

        Args:
            args_type: the pydantic model of its arguments. Its fields' descriptions tell a model
                what they mean.
            return_type: the type of its results.
            name: what models call it.
            description: what it is for, and when to use it.
            strict: whether models are bound to the schema, which then must not leave anything
                optional.
        """
        self._args_type = args_type
        self._return_type = return_type
        self._name = name
        self._description = description
        self._strict = strict
        self._parameters: ParametersSchema | None = None

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self._name

    @property
    def description(self) -> str:
        """What it is for, and when to use it."""
        return self._description

    @property
    def schema(self) -> ToolSchema:
        """What the model is told of it. It is a copy.

        Raises:
            ValueError: it is strict, and an argument is optional.
            TypeError: an argument cannot be described in JSON.
        """
        if self._parameters is None:
            try:
                self._parameters = parameters_of(self._args_type, strict=self._strict)
            except TypeError as error:
                raise TypeError(f"the tool {self._name}: {error}") from error.__cause__
        return ToolSchema(
            name=self._name,
            description=self._description,
            parameters=copy.deepcopy(self._parameters),
            strict=self._strict,
        )

    def args_type(self) -> type[BaseModel]:
        """Return the pydantic model of its arguments."""
        return self._args_type

    def return_type(self) -> type[Any]:
        """Return the type of its results."""
        return self._return_type

    def state_type(self) -> type[BaseModel] | None:
        """Return None: it has no state. See `BaseToolWithState`."""
        return None

    def return_value_as_string(self, value: Any) -> str:
        """Return a result as text for the model.

        Models, dataclasses, attrs objects, dictionaries, lists and tuples are written as JSON,
        anything else as `str` has it.
        """
        return text_of_value(value)

    @abstractmethod
    async def run(self, args: ArgsT, cancellation_token: CancellationToken) -> ReturnT:
        """Do what the tool is for.

        Called by `run_json`, it is cancelled with the token wherever it waits. The token is there
        for what it passes it on to, and for threads.
        """

    async def run_json(
        self,
        args: Mapping[str, Any],
        cancellation_token: CancellationToken,
        call_id: str | None = None,
    ) -> Any:
        """Check the arguments, run the tool, and return its result.

        It is traced as a span ``execute_tool <name>``, and a result is logged as a
        `ToolCallEvent`. Cancelled, by a scope or the token, the tool has unwound.

        Args:
            args: the arguments by name, as parsed from JSON.
            cancellation_token: cancels the run.
            call_id: the model's name for the call, for traces.

        Raises:
            ValidationError: pydantic's. An argument is missing, unknown or of another type; the
                tool was not run.
            MessageCancelled: the token was cancelled.
            Exception: what the tool has raised.
        """
        with trace_tool_span(self._name, tool_description=self._description, tool_call_id=call_id):
            checked = self._args_type.model_validate(args)
            with token_scope(cancellation_token, f"the tool {self._name}"):
                value = await self.run(checked, cancellation_token)
        self._log_call(args, value)
        return value

    def _log_call(self, args: Mapping[str, Any], value: Any) -> None:
        if _events.isEnabledFor(logging.INFO):
            _events.info(
                ToolCallEvent(
                    tool_name=self._name,
                    arguments=dict(args),
                    result=self.return_value_as_string(value),
                )
            )

    async def save_state_json(self) -> Mapping[str, Any]:
        """Return its state as JSON: none."""
        return {}

    async def load_state_json(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `save_state_json` has returned: none."""


class BaseToolWithState(BaseTool[ArgsT, ReturnT], ABC, Generic[ArgsT, ReturnT, StateT]):
    """A tool that remembers something between its runs."""

    component_type = "tool"

    def __init__(
        self,
        args_type: type[ArgsT],
        return_type: type[ReturnT],
        state_type: type[StateT],
        name: str,
        description: str,
        strict: bool = False,
    ) -> None:
        """Say what the tool is.

        Args:
            args_type: the pydantic model of its arguments.
            return_type: the type of its results.
            state_type: the pydantic model of its state.
            name: what models call it.
            description: what it is for, and when to use it.
            strict: whether models are bound to the schema.
        """
        super().__init__(args_type, return_type, name, description, strict)
        self._state_type = state_type

    def state_type(self) -> type[BaseModel]:
        """Return the pydantic model of its state."""
        return self._state_type

    @abstractmethod
    def save_state(self) -> StateT:
        """Return what it remembers."""

    @abstractmethod
    def load_state(self, state: StateT) -> None:
        """Take over what `save_state` has returned."""

    async def save_state_json(self) -> Mapping[str, Any]:
        """Return its state as JSON.

        Raises:
            StateError: something in it would not come back from JSON as what it is, such as a
                secret, an instance of a class derived from the one of its field, or infinity.
        """
        state = self.save_state()
        try:
            data: Mapping[str, Any] = read_json(dump_model(state))
        except Fault as fault:
            refused = StateError(
                f"the state of the tool {self._name}, "
                f"{type(state).__name__}{fault.path()}: {fault.reason}"
            )
        else:
            return data
        raise refused

    async def load_state_json(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `save_state_json` has returned.

        Raises:
            ValidationError: pydantic's, it is none; the tool is as it was.
        """
        # It is JSON, so it is read as such: a strict model takes a date from text only there.
        text = json.dumps(state)
        self.load_state(self._state_type.model_validate_json(text, by_alias=True, by_name=True))
