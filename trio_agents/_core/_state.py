"""The form of a saved state: a mapping from agent ids to what the agents said of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .._sansio._errors import InvalidIdentifier, StateError
from .._sansio._identifiers import AgentId
from .._sansio._json import check_json

__all__ = ["check_agent_state", "check_form", "parse_state"]


def check_agent_state(id: AgentId, state: object) -> Mapping[str, Any]:
    """Give a copy of an agent's state; refuse what JSON cannot express.

    Raises:
        StateError: it names the agent, and the path to the first part that cannot be expressed.
    """
    if not isinstance(state, Mapping):
        raise StateError(
            f"save_state() of agent {id} must return a mapping, not {type(state).__name__}"
        )
    mapping = cast("Mapping[str, Any]", state)
    check_json(mapping, what=f"the state of agent {id}")
    # A copy: the agent goes on with what it gave us, and a saved state must not.
    return {key: _copy(value) for key, value in mapping.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_copy(inner) for inner in cast("Sequence[Any]", value)]
    return value


def parse_state(state: object) -> dict[AgentId, Mapping[str, Any]]:
    """Read what `save_state` gave.

    Raises:
        StateError: it is not of that form.
    """
    if not isinstance(state, Mapping):
        raise StateError(
            f"a runtime's state is a mapping from agent ids to states, not {type(state).__name__}"
        )
    parsed: dict[AgentId, Mapping[str, Any]] = {}
    for key, value in cast("Mapping[str, object]", state).items():
        try:
            id = AgentId.from_str(key)
        except InvalidIdentifier as exc:
            raise StateError(f"the state is not one of a runtime: {exc}") from exc
        parsed[id] = check_form(id, value)
    return parsed


def check_form(id: AgentId, state: object) -> Mapping[str, Any]:
    """Refuse what cannot be the state of one agent.

    Raises:
        StateError: it is not a mapping.
    """
    if not isinstance(state, Mapping):
        raise StateError(f"the state of agent {id} must be a mapping, not {type(state).__name__}")
    return cast("Mapping[str, Any]", state)
