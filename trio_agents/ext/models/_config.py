"""What the configurations of all clients have in common.

A header may be the key itself. One whose name says so is kept as a secret, and so is hidden in a
repr and written as asterisks; the others are written as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Required, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

# typing's own is refused by pydantic before Python 3.12.
from typing_extensions import TypedDict

from ...models._model_info import ModelCapabilities

__all__ = [
    "ClientConfig",
    "Headers",
    "JSONSchema",
    "ResponseFormat",
    "as_options",
    "checked_config",
    "given",
    "plain_headers",
    "taken_apart",
]

_SECRET_NAME: Final = re.compile(r"auth|key|token|secret|cookie|credential|password", re.IGNORECASE)


def _hide(headers: dict[str, str | SecretStr]) -> dict[str, str | SecretStr]:
    return {
        name: SecretStr(value) if isinstance(value, str) and _SECRET_NAME.search(name) else value
        for name, value in headers.items()
    }


#: Headers by name; the values of those that look like secrets are `SecretStr`.
Headers: TypeAlias = Annotated[dict[str, str | SecretStr], AfterValidator(_hide)]


def plain_headers(headers: dict[str, str | SecretStr] | None) -> dict[str, str] | None:
    """Return *headers* as they are sent."""
    if headers is None:
        return None
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in headers.items()
    }


class JSONSchema(TypedDict, total=False):
    """A schema that answers keep to."""

    name: Required[str]
    description: str
    schema: dict[str, object]
    strict: bool | None


class ResponseFormat(TypedDict, total=False):
    """What answers look like, in the words of the API."""

    type: Required[Literal["text", "json_object", "json_schema"]]
    json_schema: JSONSchema | None


class ClientConfig(BaseModel):
    """What is said in the same way for each client.

    Attributes:
        model: The model's name.
        model_info: What it can do, where it is not one that is known by name.
        model_capabilities: The same as older programs say it.
        token_limit: How many tokens it has room for, where that is not known by its name.
    """

    # An unknown field is a mistake in writing; the values in errors could be secrets.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, protected_namespaces=())

    model: str
    # Not ModelInfo: older descriptions have no structured_output. `ModelTable.info` checks it.
    model_info: dict[str, Any] | None = None
    model_capabilities: ModelCapabilities | None = None
    token_limit: int | None = Field(default=None, gt=0)


ConfigT = TypeVar("ConfigT", bound=ClientConfig)


def checked_config(schema: type[ConfigT], client: str, arguments: Mapping[str, Any]) -> ConfigT:
    """Make a configuration out of the arguments of a client's constructor.

    Raises:
        TypeError: an argument is missing, unknown, or of another type. Its value is not quoted.
    """
    try:
        return schema.model_validate({k: v for k, v in arguments.items() if v is not None})
    except ValidationError as error:
        reasons = error.errors(include_url=False, include_context=False, include_input=False)
        raise TypeError(
            f"{client}: "
            + "; ".join(f"{'.'.join(map(str, r['loc']))}: {r['msg']}" for r in reasons)
        ) from None


def taken_apart(
    schema: type[ConfigT],
    client: str,
    arguments: Mapping[str, Any],
    objects: Iterable[str],
    format_of: Callable[[type[BaseModel]], Any],
) -> tuple[ConfigT, dict[str, Any], type[BaseModel] | None]:
    """Take the arguments of a constructor apart.

    Args:
        schema: the class of the configuration.
        client: the client's name, for errors.
        arguments: the arguments.
        objects: the names of those that no configuration can describe.
        format_of: gives what the API is told of a pydantic model that answers are to fit.

    Returns:
        The configuration; the objects that were given; the pydantic model that answers are to fit.

    Raises:
        TypeError: an argument is missing, unknown, or of another type.
    """
    kept = {name: arguments[name] for name in objects if arguments.get(name) is not None}
    fields = {name: arguments[name] for name in arguments if name not in kept}
    wanted = fields.get("response_format")
    output_type: type[BaseModel] | None = None
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        output_type, fields["response_format"] = wanted, format_of(wanted)
    return checked_config(schema, client, fields), kept, output_type


def as_options(config: BaseModel) -> dict[str, Any]:
    """Return the constructor's arguments that make what *config* describes."""
    return {name: getattr(config, name) for name in config.model_fields_set}


def given(config: BaseModel, names: frozenset[str]) -> dict[str, Any]:
    """Return the fields *names* of *config* that are not None."""
    values = ((name, getattr(config, name)) for name in sorted(names))
    return {name: value for name, value in values if value is not None}
