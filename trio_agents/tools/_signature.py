"""From a function to the pydantic model of its arguments, and from that model to a call.

Every kind of parameter has a place in JSON: a list for ``*args``, properties of any name for
``**kwargs``. ``cancellation_token`` has none, because it comes from whoever runs the tool.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from inspect import BoundArguments, Parameter, Signature
from types import GenericAlias, new_class
from typing import Annotated, Any, Final, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from .._sansio._cancellation import CancellationToken
from ._attrs_classes import with_attrs_classes
from ._parameters import cannot_be_described

__all__ = ["FunctionSignature", "arguments_title", "field_names", "innermost"]

_TOKEN: Final = "cancellation_token"


class _Arguments(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def refuse_token(cls, data: Any) -> Any:
        # Among arguments of any name it would stand in for the token of whoever runs the tool.
        if isinstance(data, dict) and _TOKEN in data:
            raise ValueError(f"{_TOKEN} is no argument for a model to give")
        return cast("Any", data)


class FunctionSignature:
    """What there is to know of a function in order to offer it to a model and to call it.

    Attributes:
        model: The pydantic model of its arguments.
        return_type: What it returns; `Any` if it does not say.
        takes_token: Whether it has a parameter ``cancellation_token``.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        """Read the signature of *function*, a tool that is called *name*.

        Raises:
            TypeError: it has none, or an annotation that cannot be resolved or has no JSON schema.
        """
        try:
            self._signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise TypeError(f"the tool {name}: {error}") from error
        hints = _hints(function, name)
        self.return_type: Any = hints.get("return", Any)
        parameters = dict(self._signature.parameters)
        self.takes_token = parameters.pop(_TOKEN, None) is not None
        # By the parameter's name: a field of a pydantic model cannot have every name.
        self._fields = field_names(
            parameter.name
            for parameter in parameters.values()
            if parameter.kind is not Parameter.VAR_KEYWORD
        )
        self.model = self._model(name, parameters, hints)

    def _model(
        self, name: str, parameters: dict[str, Parameter], hints: dict[str, Any]
    ) -> type[BaseModel]:
        fields: dict[str, Any] = {}
        namespace: dict[str, Any] = {"__module__": __name__}
        extra: typing.Literal["forbid", "allow"] = "forbid"
        for parameter in parameters.values():
            if _is_token(hints.get(parameter.name, Any)):
                raise TypeError(
                    f"the tool {name}: its parameter {parameter.name} is a CancellationToken: call "
                    f"it {_TOKEN}, and it is given that of the run"
                )
            hint: Any = with_attrs_classes(hints.get(parameter.name, Any))
            if parameter.kind is Parameter.VAR_KEYWORD:
                extra = "allow"
                namespace["__annotations__"] = {
                    "__pydantic_extra__": GenericAlias(dict, (str, hint))
                }
            else:
                field = self._fields[parameter.name]
                fields[field] = _field(parameter, hint, is_renamed=field != parameter.name)
        namespace["model_config"] = ConfigDict(
            title=arguments_title(name), extra=extra, protected_namespaces=()
        )
        base: type[BaseModel] = cast(
            "type[BaseModel]",
            new_class(f"{name}args", (_Arguments,), exec_body=lambda body: body.update(namespace)),
        )
        try:
            return create_model(f"{name}args", __base__=base, **fields)
        except PydanticUserError as error:
            blamed = next((own for own, field in self._fields.items() if _fails(fields[field])), "")
            raise TypeError(f"the tool {name}: {cannot_be_described(blamed, error)}") from error

    def bind(self, arguments: BaseModel, token: CancellationToken) -> BoundArguments:
        """Return the arguments of a call."""
        bound = self._signature.bind_partial()
        for parameter in self._signature.parameters.values():
            if parameter.name == _TOKEN:
                value: Any = token
            elif parameter.kind is Parameter.VAR_KEYWORD:
                value = arguments.model_extra or {}
            else:
                value = getattr(arguments, self._fields[parameter.name])
            bound.arguments[parameter.name] = value
        return bound


def arguments_title(name: str) -> str:
    """Return the title that the model of the arguments of the tool *name* has."""
    return f"arguments of {name}"


def _is_token(hint: Any) -> bool:
    """Tell whether it is a token, also one with a text or one that may be None."""
    bare = hint.__origin__ if get_origin(hint) is Annotated else hint
    return any(part is CancellationToken for part in (bare, *get_args(bare)))


def _fails(field: tuple[Any, Any]) -> bool:
    try:
        create_model("one", field=field)
    except PydanticUserError:
        return True
    return False


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind partials, or behind an object that can be called."""
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _declared(function: Any) -> Callable[..., Any]:
    """Return the function whose signature `inspect.signature` gives for *function*."""
    while True:
        inner: Any
        if isinstance(function, partial):
            inner = function.func
        else:
            inner = inspect.unwrap(function, stop=lambda f: hasattr(f, "__signature__"))
        if inner is function:
            return innermost(inner)
        function = inner


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    inner = _declared(function)
    # Annotations that are text may name classes of the function around it.
    closure: Mapping[str, Any] = {}
    with suppress(TypeError):  # it was not written in Python
        closure = inspect.getclosurevars(inspect.unwrap(inner)).nonlocals
    try:
        return typing.get_type_hints(inner, localns=dict(closure), include_extras=True)
    except NameError as error:
        raise TypeError(
            f"the tool {name} has an annotation that cannot be resolved: {error}. Its types must "
            f"be importable where the function is defined, not only for type checkers"
        ) from error


def field_names(arguments: Iterable[str]) -> dict[str, str]:
    """Return names that fields of a pydantic model may have, by the names of the arguments."""
    names = list(arguments)
    fields = {name: name for name in names if name[:1] != "_" and not hasattr(BaseModel, name)}
    taken = set(fields)
    for name in names:
        if name not in fields:
            field = f"argument_{name.strip('_')}"
            while field in taken:
                field += "_"
            taken.add(field)
            fields[name] = field
    return fields


def _field(parameter: Parameter, hint: Any, *, is_renamed: bool) -> tuple[Any, Any]:
    default: Any = ... if parameter.default is Signature.empty else parameter.default
    texts = [_text(item) for item in hint.__metadata__] if get_origin(hint) is Annotated else []
    if parameter.kind is Parameter.VAR_POSITIONAL:
        hint, default = list[hint], Field(default_factory=list)
    known = FieldInfo.from_annotated_attribute(hint, default)
    ours: dict[str, Any] = {}
    if known.description is None:
        ours["description"] = next(filter(None, texts), parameter.name)
    if known.alias is None and is_renamed:
        ours["alias"] = parameter.name
    return Annotated[hint, Field(**ours)], default


def _text(metadata: object) -> str | None:
    if isinstance(metadata, str):
        return metadata
    documentation = getattr(metadata, "documentation", None)  # typing_extensions.Doc
    return documentation if isinstance(documentation, str) else None
