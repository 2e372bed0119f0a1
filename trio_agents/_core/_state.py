"""The form of a saved state: a mapping from agent ids to what the agents said of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .._sansio._errors import InvalidIdentifier, StateError
from .._sansio._identifiers import AgentId
from .._sansio._json import check_json

__all__ = ["check_agent_state", "parse_state"]


def check_agent_state(id: AgentId, state: object) -> Mapping[str, Any]:
    """Refuse a state that JSON cannot express.

    Raises:
        StateError: it names the agent, and the path to the first part that cannot be expressed.
    """
    if not isinstance(state, Mapping):
        raise StateError(
            f"save_state() of agent {id} must return a mapping, not {type(state).__name__}"
        )
    mapping = cast("Mapping[str, Any]", state)
    check_json(mapping, what=f"the state of agent {id}")
    return mapping


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
        if not isinstance(value, Mapping):
            raise StateError(
                f"the state of agent {id} must be a mapping, not {type(value).__name__}"
            )
        parsed[id] = cast("Mapping[str, Any]", value)
    return parsed
