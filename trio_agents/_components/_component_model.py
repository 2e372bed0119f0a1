"""`ComponentModel`: the description of a component, as data."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from .._sansio._facade import claim_names

__all__ = ["SPECIFICATION_VERSION", "ComponentModel", "ComponentType"]

#: The logical kind of a component. Applications may have kinds of their own: any string.
ComponentType: TypeAlias = (
    Literal["model", "agent", "tool", "termination", "token_provider", "workbench"] | str
)

# The version of `ComponentModel` itself. AutoGen's is 1 as well, and the fields are the same.
SPECIFICATION_VERSION: Final = 1


class ComponentModel(BaseModel):
    """Everything that is needed to make a component: which class, and its configuration.

    It is a blueprint and holds no state: any number of equal instances can be made from one. As
    JSON it goes into files. Secrets in ``config`` are then written as asterisks, and read as if
    they were not there. A repr leaves ``config`` out.

    Attributes:
        provider: The class, as its public dotted path, or a name that stands for one. What may be
            loaded is the application's decision (`ComponentPolicy`), never that of the data.
        component_type: The kind of component; None for whatever the provider is.
        version: The version of this very model; None for the current one, which is only right
            for descriptions that are not kept.
        component_version: The version of the provider's configuration; None for its current one.
        description: What it is for, for people.
        label: What to call it, for people; None for the name of the class.
        config: The configuration. The provider's schema judges it.
    """

    # A config that was read from a file may hold anybody's secrets, as plain strings.
    # And "no limit" may be infinity, of which JSON has no number.
    model_config = ConfigDict(hide_input_in_errors=True, ser_json_inf_nan="strings")

    provider: str
    component_type: ComponentType | None = None
    version: int | None = None
    component_version: int | None = None
    description: str | None = None
    label: str | None = None
    config: dict[str, Any] = Field(repr=False)


claim_names("trio_agents", globals())
