"""What a runtime knows of an agent type: how its agents are made, and under which limits."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .._sansio._errors import UnknownAgentType
from .._sansio._foreign import check_not_autogens
from .._sansio._identifiers import AgentId, AgentType
from .._sansio._options import Overflow

if TYPE_CHECKING:
    from .._sansio._abc import Agent

__all__ = ["Registration", "Registry"]


AGENT_METHODS: Final = (
    "id",
    "metadata",
    "bind_id_and_runtime",
    "on_message",
    "save_state",
    "load_state",
    "close",
)


def check_bound(value: object, name: str) -> int | None:
    """Refuse what cannot be a bound. None means: no bound.

    Raises:
        TypeError: it is neither an int nor None.
        ValueError: it is less than one.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int or None, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}; leave it out for no bound")
    return value


def check_seconds(value: object, name: str, without: str) -> None:
    """Refuse what is no time that may pass. None means: no such time.

    Args:
        value: what was given.
        name: of the argument.
        without: what leaving it out is for.

    Raises:
        TypeError: it is neither a number nor None.
        ValueError: it is not positive, or not finite.
    """
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}")
    if not 0 < value < math.inf:
        raise ValueError(
            f"{name} must be a positive number of seconds, not {value}; leave it out {without}"
        )


def check_overflow(value: object) -> None:
    """Refuse what is no overflow policy.

    Raises:
        ValueError: it is neither "wait" nor "raise".
    """
    if value not in ("wait", "raise"):
        raise ValueError(f'overflow must be "wait" or "raise", not {value!r}')


class Registration:
    """One agent type: a factory, or instances that the application built."""

    def __init__(
        self,
        type: AgentType,
        factory: Callable[[], Any] | None,
        *,
        expected_class: type[Any] | None = None,
        max_concurrency: int | None = None,
        mailbox_size: int | None = None,
        overflow: Overflow = "wait",
        idle_timeout: float | None = None,
    ) -> None:
        self.type = type.type
        self.factory = factory
        self.expected_class = expected_class
        self.max_concurrency = check_bound(max_concurrency, "max_concurrency")
        self.mailbox_size = check_bound(mailbox_size, "mailbox_size")
        check_overflow(overflow)
        self.overflow: Overflow = overflow
        check_seconds(idle_timeout, "idle_timeout", "to keep agents for good")
        self.idle_timeout = idle_timeout
        self.instances: dict[AgentId, Agent] = {}

    def check(self, agent: object, id: AgentId) -> None:
        """Refuse an agent of the wrong class.

        Raises:
            TypeError: the factory made something else than was expected of it.
        """
        if self.expected_class is not None and not isinstance(agent, self.expected_class):
            raise TypeError(
                f"the factory of agent type {self.type!r} was to make {_name(self.expected_class)} "
                f"and made {_name(type(agent))} for {id}"
            )
        check_not_autogens(agent, f"what the factory of agent type {self.type!r} made, a")
        missing = [
            name
            for name in AGENT_METHODS
            if not (hasattr(type(agent), name) or hasattr(agent, name))
        ]
        if missing:
            raise TypeError(
                f"the factory of agent type {self.type!r} made {_name(type(agent))} for {id}, "
                f"which is not an Agent: it lacks {', '.join(missing)}"
            )


class Registry:
    """The agent types of one runtime."""

    def __init__(self) -> None:
        self._registrations: dict[str, Registration] = {}

    def __contains__(self, type: str) -> bool:
        return type in self._registrations

    def knows(self, id: AgentId) -> bool:
        """Whether there is an instance of this id, or a factory that could make the agent."""
        known = self._registrations.get(id.type)
        return known is not None and (known.factory is not None or id in known.instances)

    def find(self, id: AgentId) -> Registration:
        """Give the registration that an agent would be made by.

        Raises:
            UnknownAgentType: the type is not registered, or only with instances of other keys.
        """
        registration = self._registrations.get(id.type)
        if registration is None:
            raise UnknownAgentType(
                f"no factory for {id}: register agent type {id.type!r} first "
                f"(registered: {', '.join(sorted(self._registrations)) or 'none'})"
            )
        if registration.factory is None and id not in registration.instances:
            raise UnknownAgentType(
                f"no instance for {id}: agent type {id.type!r} was registered with the instances "
                f"{', '.join(sorted(map(str, registration.instances)))} and has no factory"
            )
        return registration

    def add_factory(self, registration: Registration) -> None:
        """Register a type with a factory.

        Raises:
            TypeError: the factory cannot be called without arguments.
            ValueError: the type is registered already, with a factory or with instances.
        """
        factory = registration.factory
        if not callable(factory):
            raise TypeError(
                f"the factory of agent type {registration.type!r} must be callable, "
                f"not {type(factory).__name__}"
            )
        _check_takes_no_arguments(factory, registration.type)
        known = self._registrations.get(registration.type)
        if known is not None:
            how = "with instances" if known.factory is None else "with a factory"
            raise ValueError(
                f"agent type {registration.type!r} is registered already, {how}: "
                "a type has one factory, or instances, not both"
            )
        self._registrations[registration.type] = registration

    def add_instance(self, agent: Agent, id: AgentId) -> Registration:
        """Register one ready agent.

        Raises:
            ValueError: the id is taken, the type has a factory, or the type's other instances are
                of another class.
        """
        known = self._registrations.get(id.type)
        if known is None:
            known = Registration(AgentType(id.type), None, expected_class=type(agent))
            self._registrations[id.type] = known
        elif known.factory is not None:
            raise ValueError(
                f"agent type {id.type!r} is registered with a factory: an instance cannot be added"
            )
        elif id in known.instances:
            raise ValueError(f"there is an instance for {id} already")
        elif known.expected_class is not type(agent):
            assert known.expected_class is not None
            raise ValueError(
                f"the instances of agent type {id.type!r} are of {_name(known.expected_class)}: "
                f"one of {_name(type(agent))} cannot be added"
            )
        known.instances[id] = agent
        return known

    def remove_instance(self, id: AgentId) -> None:
        """Forget the instance of this id, if there is one. A type without any is free again."""
        known = self._registrations.get(id.type)
        if known is not None and known.instances.pop(id, None) is not None and not known.instances:
            del self._registrations[id.type]


def _check_takes_no_arguments(factory: Callable[..., object], type: str) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # some builtins have none: the call will tell
    required = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise TypeError(
            f"the factory of agent type {type!r} is called without arguments, but "
            f"{', '.join(required)} must be given: wrap it, in a lambda say; runtime and id are in "
            "AgentInstantiationContext"
        )


def _name(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
