"""`AzureTokenProvider`: tokens of Entra ID, from a component. Extra ``azure``."""

from __future__ import annotations

from typing import ClassVar, Protocol, Self

from ..._components._component import Component, ComponentBase
from ..._components._config_data import ComponentConfig
from ..._components._extras import import_extra
from ..._sansio._errors import ComponentError
from ..._sansio._facade import claim_names

__all__ = ["AzureTokenProvider", "TokenProviderConfig"]

_DEFAULT = "DefaultAzureCredential"


class _AccessToken(Protocol):
    @property
    def token(self) -> str: ...


class _Credential(Protocol):
    """What all credentials of ``azure.identity`` have."""

    def get_token(self, *scopes: str) -> _AccessToken: ...


class TokenProviderConfig(ComponentConfig):
    """The configuration of an `AzureTokenProvider`.

    Attributes:
        provider_kind: The class of the credential, in ``azure.identity``.
        scopes: What the tokens are for.
    """

    provider_kind: str
    scopes: list[str]


class AzureTokenProvider(ComponentBase[TokenProviderConfig], Component[TokenProviderConfig]):
    """Gives tokens of Entra ID. It blocks; the clients of this library call it in a thread.

    ::

        AzureTokenProvider(DefaultAzureCredential(), "https://cognitiveservices.azure.com/.default")

    With a ``DefaultAzureCredential`` it can be dumped and loaded: that takes its secrets from the
    environment it is in.
    """

    component_type = "token_provider"
    component_config_schema = TokenProviderConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.auth.azure.AzureTokenProvider"
    )

    def __init__(self, credential: _Credential, *scopes: str) -> None:
        """Take a credential of ``azure.identity``, one that blocks, and what its tokens are for.

        Raises:
            ValueError: no scope is given.
        """
        if not scopes:
            raise ValueError(
                'say what the tokens are for, as in "https://cognitiveservices.azure.com/.default"'
            )
        self._credential = credential
        self._scopes = scopes

    def __repr__(self) -> str:
        return f"<AzureTokenProvider {type(self._credential).__name__} for {self._scopes}>"

    def __call__(self) -> str:
        """Return a token, out of the credential's cache or over the network."""
        return self._credential.get_token(*self._scopes).token

    def _to_config(self) -> TokenProviderConfig:
        kind = type(self._credential).__name__
        if kind != _DEFAULT:
            raise ComponentError(f"only a {_DEFAULT} holds no secrets of its own, not a {kind}")
        return TokenProviderConfig(provider_kind=kind, scopes=list(self._scopes))

    @classmethod
    def _from_config(cls, config: TokenProviderConfig) -> Self:
        if config.provider_kind != _DEFAULT:
            raise ComponentError(f"provider_kind must be {_DEFAULT}, not {config.provider_kind!r}")
        identity = import_extra("azure.identity", "azure", purpose="AzureTokenProvider")
        return cls(identity.DefaultAzureCredential(), *config.scopes)


claim_names(__name__, globals())
