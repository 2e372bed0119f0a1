"""Components: objects that a configuration describes, and can be made from.

The interface of a kind of component derives from `ComponentBase`, and a class that can be made from
`Component` besides. The two are put together of four parts, one for each direction and one each for
the schema and for loading, because an interface cannot say how it is made.
"""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    Self,
    TypeGuard,
    TypeVar,
    cast,
    get_origin,
    overload,
)

from pydantic import BaseModel

from .._sansio._errors import ComponentError
from .._sansio._facade import claim_names
from .._sansio._notes import add_note
from ._component_model import SPECIFICATION_VERSION, ComponentModel, ComponentType
from ._config_data import describe, dump_config, read_config, refusal
from ._policy import ComponentPolicy, current_component_policy, use_component_policy
from ._providers import provider_of
from ._resolve import resolve

__all__ = [
    "Component",
    "ComponentBase",
    "ComponentFromConfig",
    "ComponentLoader",
    "ComponentSchemaType",
    "ComponentToConfig",
    "is_component_class",
    "is_component_instance",
]

ConfigT = TypeVar("ConfigT", bound=BaseModel)
FromConfigT = TypeVar("FromConfigT", bound=BaseModel, contravariant=True)
ToConfigT = TypeVar("ToConfigT", bound=BaseModel, covariant=True)
ExpectedT = TypeVar("ExpectedT")

# A team of agents with their tools nests five deep or so.
_MAX_NESTED: Final = 32
_nested: Final = ContextVar("components_being_loaded", default=0)


class ComponentFromConfig(Generic[FromConfigT]):
    """The part of a component that makes it from a configuration."""

    @classmethod
    def _from_config(cls, config: FromConfigT) -> Self:
        """Make an instance. Called with a configuration that the schema has accepted.

        Raises:
            NotImplementedError: the class does not say how.
        """
        raise NotImplementedError(f"{cls.__qualname__} has no _from_config: it cannot be loaded")

    @classmethod
    def _from_config_past_version(cls, config: dict[str, Any], version: int) -> Self:
        """Make an instance from a configuration that was dumped by an earlier version.

        Called only if *version* is lower than `component_version`. *config* is as it was written:
        its schema is not known any more.

        Raises:
            NotImplementedError: the class does not say how.
        """
        raise NotImplementedError(
            f"{cls.__qualname__} has no _from_config_past_version: it cannot be loaded from a "
            f"configuration of version {version}"
        )


class ComponentToConfig(Generic[ToConfigT]):
    """The part of a component that describes it."""

    #: The logical kind of the component.
    component_type: ClassVar[ComponentType]
    #: The version of the configuration, to be raised when its schema changes incompatibly.
    component_version: ClassVar[int] = 1
    #: The provider to dump, where it is not the module and name of the class. Not inherited.
    component_provider_override: ClassVar[str | None] = None
    #: What the component is for; None for its docstring.
    component_description: ClassVar[str | None] = None
    #: What to call it; None for the name of the class.
    component_label: ClassVar[str | None] = None

    def _to_config(self) -> ToConfigT:
        """Return the configuration from which an equal instance can be made.

        Raises:
            NotImplementedError: the class does not say how.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has no _to_config: it cannot be dumped"
        )

    def dump_component(self) -> ComponentModel:
        """Describe this object so that `load_component` can make another one like it.

        Secrets stay pydantic's secrets: hidden in a repr, asterisks in JSON.

        Raises:
            ComponentError: the class is one that cannot be found again, such as a local one.
            NotImplementedError: the class does not say how it is described.
        """
        cls = type(self)
        provider = provider_of(cls)
        if "<locals>" in provider:
            raise ComponentError(
                f"{provider} is defined inside of a function, where nobody can import it: move the "
                f"class to its module, or set component_provider_override"
            )
        if not hasattr(cls, "component_type"):
            raise ComponentError(f"{provider} has no component_type: it or its interface sets it")
        docstring = cls.__dict__.get("__doc__")
        return ComponentModel(
            provider=provider,
            component_type=cls.component_type,
            version=SPECIFICATION_VERSION,
            component_version=cls.component_version,
            description=cls.component_description
            or (inspect.cleandoc(docstring).partition("\n\n")[0] if docstring else None),
            label=cls.component_label or cls.__name__,
            config=dump_config(self._to_config()),
        )


class ComponentLoader:
    """The part of a component that loads it, or any other."""

    @overload
    @classmethod
    def load_component(
        cls,
        model: ComponentModel | Mapping[str, Any],
        expected: None = None,
        *,
        policy: ComponentPolicy | None = None,
    ) -> Self: ...
    @overload
    @classmethod
    def load_component(
        cls,
        model: ComponentModel | Mapping[str, Any],
        expected: type[ExpectedT],
        *,
        policy: ComponentPolicy | None = None,
    ) -> ExpectedT: ...
    @classmethod
    def load_component(
        cls,
        model: ComponentModel | Mapping[str, Any],
        expected: type[ExpectedT] | None = None,
        *,
        policy: ComponentPolicy | None = None,
    ) -> Self | ExpectedT:
        """Make the component that *model* describes.

        Best called on the wanted interface, as in ``ChatCompletionClient.load_component(...)``:
        what is of another kind is refused before it is made. Which providers may be loaded, see
        `ComponentPolicy`; the class that this is called on always may.

        Args:
            model: the description, or its fields; ``provider`` and ``config`` are enough.
            expected: what it has to be, where this is called on `ComponentLoader` itself.
            policy: what may be loaded, for this component and those inside of it; None for the
                policy that holds here.

        Raises:
            ComponentNotAllowed: the policy does not allow the provider, or what its configuration
                carries. Nothing was imported.
            ComponentError: the description is none, the configuration does not fit the provider's
                schema or version or is not taken by its class, or the component is not of the
                wanted kind.
            ImportError: a library that the component needs is not installed; the error names the
                extra.
            OSError: the machine did not let the component's class make one.
        """
        wanted: Any = cls if expected is None else get_origin(expected) or expected
        description = describe(model)
        holds = current_component_policy() if policy is None else policy
        with use_component_policy(holds), _one_more_nested(description.provider):
            try:
                found = resolve(description.provider, holds, cls)
                _check(found, description, wanted)
                made = _make(found, description)
            except Exception as error:
                add_note(error, f"while the component {description.provider[:256]!r} was loaded")
                raise
            # The class could not say, being a protocol with attributes; or it makes other things.
            if not (wanted is ComponentLoader or isinstance(made, wanted)):
                raise ComponentError(
                    f"{description.provider} made a {type(made).__name__}, and no {wanted.__name__}"
                )
            return cast("Self | ExpectedT", made)


@contextmanager
def _one_more_nested(provider: str) -> Generator[None]:
    above = _nested.get()
    if above >= _MAX_NESTED:
        raise ComponentError(
            f"{provider[:256]}: more than {_MAX_NESTED} components are inside of one another"
        )
    token = _nested.set(above + 1)
    try:
        yield
    finally:
        _nested.reset(token)


def _check(found: Any, description: ComponentModel, wanted: Any) -> None:
    provider = description.provider
    if not _is_component(found):
        raise ComponentError(f"{provider} is no component, but {found.__name__}{_lacks(found)}")
    if inspect.isabstract(found):
        raise ComponentError(f"{provider} is abstract: it describes a kind of component")
    try:
        fits = wanted is ComponentLoader or issubclass(found, wanted)
    except TypeError:  # a protocol with attributes, which only the instance has
        fits = True
    if not fits:
        raise ComponentError(f"{provider} is a {found.__name__}, and no {wanted.__name__}")
    if description.version not in (None, SPECIFICATION_VERSION):
        raise ComponentError(
            f"{provider}: described in version {description.version} of the specification, this "
            f"library knows {SPECIFICATION_VERSION}"
        )
    if description.component_type not in (None, found.component_type):
        raise ComponentError(
            f"{provider} is a component of type {found.component_type!r}, "
            f"not {description.component_type[:60]!r}"
        )


def _make(found: type[Any], description: ComponentModel) -> object:
    provider, version = description.provider, description.component_version
    current: int = found.component_version
    if version is not None and version > current:
        raise ComponentError(
            f"{provider}: its configuration is of version {version}, and the class of {current}"
        )
    schema = found.component_config_schema
    try:
        if version is not None and version < current:
            return found._from_config_past_version(description.config, version)
        return found._from_config(read_config(schema, description))
    except (ComponentError, ImportError, OSError):
        raise  # what is to be installed, and what is wrong with the machine, the data cannot help
    except Exception as error:  # whatever a class or the library behind it makes of bad values
        refused = refusal(schema, description, error)
    raise refused  # out here: its context would be the error, which may quote secrets


class ComponentSchemaType(Generic[ConfigT]):
    """The part of a component that knows what its configuration looks like."""

    #: The pydantic model of the configuration.
    component_config_schema: type[ConfigT]
    #: What a concrete component has to define.
    required_class_vars: ClassVar[list[str]] = ["component_config_schema", "component_type"]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a class that cannot be a component.

        Raises:
            TypeError: it lacks what `required_class_vars` asks for and is not abstract.
        """
        super().__init_subclass__(**kwargs)
        schema = getattr(cls, "component_config_schema", None)
        if schema is not None and not (isinstance(schema, type) and issubclass(schema, BaseModel)):
            raise TypeError(
                f"{cls.__qualname__}.component_config_schema must be a pydantic model, "
                f"not {schema!r:.80}"
            )
        if ABC in cls.__bases__ or cls.__dict__.get("__parameters__"):
            return  # still an interface
        missing = [name for name in cls.required_class_vars if not hasattr(cls, name)]
        if missing:
            raise TypeError(
                f"{cls.__qualname__} is a component and has to define {' and '.join(missing)} "
                f"(or to derive from ABC directly, if it is an interface)"
            )


class ComponentBase(ComponentToConfig[ConfigT], ComponentLoader, Generic[ConfigT]):
    """What the interface of a kind of component derives from. It sets `component_type`."""


class Component(ComponentFromConfig[ConfigT], ComponentSchemaType[ConfigT], Generic[ConfigT]):
    """What a class derives from that can be made from a configuration, besides its interface.

    ::

        class Clock(ComponentBase[ClockConfig], Component[ClockConfig]):
            component_type = "clock"
            component_config_schema = ClockConfig

            def _to_config(self) -> ClockConfig: ...

            @classmethod
            def _from_config(cls, config: ClockConfig) -> Self: ...
    """


_PARTS = (ComponentFromConfig, ComponentToConfig, ComponentSchemaType, ComponentLoader)


def is_component_class(cls: type) -> TypeGuard[type[Component[BaseModel]]]:
    """Tell whether *cls* is a complete component: it can be dumped and loaded."""
    return _is_component(cls)


def _is_component(cls: type) -> bool:
    return (
        isinstance(cls, type)
        and all(issubclass(cls, part) for part in _PARTS)
        and all(hasattr(cls, name) for name in ComponentSchemaType.required_class_vars)
    )


def _lacks(cls: type[Any]) -> str:
    required = ComponentSchemaType.required_class_vars
    missing = [part.__name__ for part in _PARTS if not issubclass(cls, part)]
    missing += [name for name in required if not hasattr(cast("Any", cls), name)]
    return f", which lacks {', '.join(missing)}" if len(missing) < len(_PARTS) else ""


def is_component_instance(obj: object) -> TypeGuard[Component[BaseModel]]:
    """Tell whether *obj* is an instance of a complete component."""
    return is_component_class(type(obj))


claim_names("trio_agents", globals())
