"""`AzureOpenAIChatCompletionClient`: models that Azure hosts, by a key or by tokens of Entra ID.

Azure's libraries get tokens over the network, blocking. The SDK would call such a provider on the
event loop, and everything would stand still; here it runs in a thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Self, Unpack, cast

import anyio.to_thread
from pydantic import BaseModel

from ..._components._component import Component, ComponentLoader, is_component_instance
from ..._components._extras import import_extra
from ..._sansio._errors import ComponentError
from ._config import as_options, taken_apart
from ._openai_client import (
    OBJECTS,
    BaseOpenAIChatCompletionClient,
    connection,
    response_format,
)
from ._openai_config import (
    AzureOpenAIClientConfiguration,
    AzureOpenAIClientConfigurationConfigModel,
    TokenProvider,
)

__all__ = ["AzureOpenAIChatCompletionClient"]


class AzureOpenAIChatCompletionClient(
    BaseOpenAIChatCompletionClient, Component[AzureOpenAIClientConfigurationConfigModel]
):
    """Asks models of OpenAI that Azure hosts. Extra ``openai``.

    ::

        client = AzureOpenAIChatCompletionClient(
            model="gpt-4o",
            azure_endpoint="https://my-resource.openai.azure.com",
            azure_deployment="my-deployment",
            api_version="2024-10-21",
            azure_ad_token_provider=AzureTokenProvider(
                DefaultAzureCredential(), "https://cognitiveservices.azure.com/.default"
            ),
        )

    The key may also be in ``AZURE_OPENAI_API_KEY``, a token in ``AZURE_OPENAI_AD_TOKEN``. A token
    provider is asked before each request; one that is a plain function runs in a thread, as Azure's
    own block. It can be dumped if it is an `AzureTokenProvider`.
    """

    component_config_schema = AzureOpenAIClientConfigurationConfigModel
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.models.openai.AzureOpenAIChatCompletionClient"
    )

    def __init__(self, **options: Unpack[AzureOpenAIClientConfiguration]) -> None:
        """Make the SDK's client. Nothing is sent.

        Args:
            **options: `AzureOpenAIClientConfiguration` says what they are.

        Raises:
            ImportError: the SDK is not installed.
            TypeError: an argument is missing, unknown or of another type.
            ValueError: the model is not known by name, and *model_info* does not tell.
            openai.OpenAIError: there is no key and no token.
        """
        fields: dict[str, Any] = {**options}
        provider: TokenProvider | None = fields.pop("azure_ad_token_provider", None)
        config, objects, output_type = taken_apart(
            AzureOpenAIClientConfigurationConfigModel,
            type(self).__name__,
            fields,
            OBJECTS,
            response_format,
        )
        self._token_provider = provider
        sdk = import_extra("openai", "openai", purpose="its client").AsyncAzureOpenAI(
            azure_endpoint=config.azure_endpoint,
            azure_deployment=config.azure_deployment,
            api_version=config.api_version,
            api_key=config.api_key.get_secret_value() if config.api_key else None,
            azure_ad_token=config.azure_ad_token.get_secret_value()
            if config.azure_ad_token
            else None,
            azure_ad_token_provider=None if provider is None else _off_the_loop(provider),
            **connection(config, objects),
        )
        super().__init__(sdk, config, output_type, objects)

    def _to_config(self) -> AzureOpenAIClientConfigurationConfigModel:
        self._check_dumpable()
        config = cast(AzureOpenAIClientConfigurationConfigModel, self._config)
        provider: object = self._token_provider
        if provider is None:
            return config
        if not is_component_instance(provider):
            raise ComponentError(
                f"{type(self).__name__} was given an azure_ad_token_provider that no "
                f"configuration can describe: use trio_agents.ext.auth.azure.AzureTokenProvider"
            )
        described = cast(Any, provider).dump_component()
        return config.model_copy(update={"azure_ad_token_provider": described})

    @classmethod
    def _from_config(cls, config: AzureOpenAIClientConfigurationConfigModel) -> Self:
        options = as_options(config)
        if config.azure_ad_token_provider is not None:
            options["azure_ad_token_provider"] = ComponentLoader.load_component(
                config.azure_ad_token_provider, cast("type[BaseModel]", object)
            )
        return cls(**cast(Any, options))


def _off_the_loop(provider: TokenProvider) -> Callable[[], Awaitable[str]]:
    def in_the_thread() -> tuple[str | Awaitable[str]]:
        return (provider(),)  # trio refuses a thread that returns a coroutine, so it is wrapped

    async def token() -> str:
        if inspect.iscoroutinefunction(provider):
            return cast(str, await provider())
        # Left alone when cancelled: all it does is to fill the cache of its credential.
        (found,) = await anyio.to_thread.run_sync(in_the_thread, abandon_on_cancel=True)
        return found if isinstance(found, str) else await found

    return token
