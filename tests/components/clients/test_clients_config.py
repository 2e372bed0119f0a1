"""What clients are made of: arguments, configurations, AutoGen's dumps, keys."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import openai
import pytest
from pydantic import BaseModel, SecretStr

from trio_agents import ComponentLoader, ComponentModel
from trio_agents.exceptions import ComponentError
from trio_agents.ext.auth.azure import AzureTokenProvider
from trio_agents.ext.models import _anthropic_config, _ollama_config, _openai_config
from trio_agents.ext.models.anthropic import AnthropicChatCompletionClient
from trio_agents.ext.models.ollama import OllamaChatCompletionClient
from trio_agents.ext.models.openai import (
    AzureOpenAIChatCompletionClient,
    OpenAIChatCompletionClient,
    estimate_tokens,
)
from trio_agents.models import ChatCompletionClient, ModelInfo, UserMessage

DUMPS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "autogen_0_7_5_dumps.json").read_text()
)
AZURE = {
    "model": "gpt-4o",
    "azure_endpoint": "https://example.openai.azure.com",
    "api_version": "2024-10-21",
}
INFO = ModelInfo(
    vision=False,
    function_calling=True,
    json_output=True,
    structured_output=False,
    family="unknown",
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that masked ones are replaced by, and none of the machine's."""
    for provider in ("OPENAI", "AZURE_OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{provider}_API_KEY", f"key of {provider}")
    for name in ("GEMINI_API_KEY", "LLAMA_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", DUMPS)
def test_what_autogen_has_dumped_is_loaded_and_dumped_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "key of GEMINI")
    dump = DUMPS[name]
    client = ChatCompletionClient.load_component(dump)
    again = json.loads(client.dump_component().model_dump_json())
    assert again["provider"] == dump["provider"].replace("autogen_ext", "trio_agents.ext")
    expected = dict(dump["config"])
    if expected.pop("api_key", None):
        assert "api_key" not in again["config"]  # masked: it was not there, and still is not
    if "azure_ad_token" in expected:
        expected["azure_ad_token"] = "**********"  # AutoGen writes it as it is
    if "azure_ad_token_provider" in expected:
        theirs, ours = (c.pop("azure_ad_token_provider") for c in (expected, again["config"]))
        assert ours["config"] == theirs["config"]
    assert again["config"] == expected


@pytest.mark.parametrize(
    ("typed", "config"),
    [
        ("OpenAIClientConfiguration", _openai_config.OpenAIClientConfigurationConfigModel),
        (
            "AzureOpenAIClientConfiguration",
            _openai_config.AzureOpenAIClientConfigurationConfigModel,
        ),
        (
            "AnthropicClientConfiguration",
            _anthropic_config.AnthropicClientConfigurationConfigModel,
        ),
        ("OllamaClientConfiguration", _ollama_config.BaseOllamaClientConfigurationConfigModel),
    ],
)
def test_arguments_and_configuration_have_the_same_fields(
    typed: str, config: type[BaseModel]
) -> None:
    module: Any = sys.modules[config.__module__]
    annotations: set[str] = set()
    for base in (getattr(module, typed), *getattr(module, typed).__orig_bases__):
        annotations |= set(getattr(base, "__annotations__", {}))
    objects = {"http_client", "http_options", "token_counter"}
    assert annotations - objects == set(config.model_fields)


# MC-18
def test_a_key_is_in_no_dump_and_no_repr() -> None:
    client = OpenAIChatCompletionClient(
        model="gpt-4o",
        api_key="sk-secret",
        default_headers={"Authorization": "Bearer sk-secret", "X-Team": "blue"},
    )
    dump = client.dump_component()
    for text in (repr(client), repr(dump), dump.model_dump_json()):
        assert "sk-secret" not in text
    assert "blue" in dump.model_dump_json()
    # In this process it is still there, as a secret.
    assert dump.config["api_key"] == SecretStr("sk-secret")
    loaded = OpenAIChatCompletionClient.load_component(dump)
    assert loaded._sdk.api_key == "sk-secret"
    assert loaded._sdk.default_headers["Authorization"] == "Bearer sk-secret"


def test_mistakes_in_arguments_are_named_and_their_values_are_not() -> None:
    with pytest.raises(TypeError, match=r"api_keys: Extra inputs") as caught:
        OpenAIChatCompletionClient(model="gpt-4o", api_keys="sk-secret")  # type: ignore[call-arg]
    assert "sk-secret" not in str(caught.value)
    with pytest.raises(TypeError, match=r"OpenAIChatCompletionClient: model: Field required"):
        OpenAIChatCompletionClient(api_key="k")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="n must be 1"):
        OpenAIChatCompletionClient(model="gpt-4o", n=2)


# MC-30
def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    azure = AzureOpenAIChatCompletionClient(**AZURE)  # type: ignore[typeddict-item]
    assert OpenAIChatCompletionClient(model="gpt-4o")._sdk.api_key == "key of OPENAI"
    assert azure._sdk.api_key == "key of AZURE_OPENAI"
    assert AnthropicChatCompletionClient(model="claude-sonnet-5")._sdk.api_key == "key of ANTHROPIC"
    monkeypatch.setenv("GEMINI_API_KEY", "key of GEMINI")
    assert OpenAIChatCompletionClient(model="gemini-2.0-flash")._sdk.api_key == "key of GEMINI"
    own = OpenAIChatCompletionClient(model="gemini-2.0-flash", api_key="own")
    assert own._sdk.api_key == "own"


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "Llama-3.3-8B-Instruct"])
def test_the_key_for_openai_is_sent_to_no_other_company(model: str) -> None:
    with pytest.raises(openai.OpenAIError, match=r"no key .* set (GEMINI|LLAMA)_API_KEY"):
        OpenAIChatCompletionClient(model=model)
    # Who has named a server decides whose key it gets.
    proxy = OpenAIChatCompletionClient(model=model, base_url="http://localhost:4000")
    assert proxy._sdk.api_key == "key of OPENAI"


@pytest.mark.parametrize(
    ("model", "host"),
    [
        ("gpt-4o", "api.openai.com"),
        ("gemini-2.0-flash", "generativelanguage.googleapis.com"),
        ("claude-3-5-sonnet-20241022", "api.anthropic.com"),
        ("Llama-3.3-8B-Instruct", "api.llama.com"),
    ],
)
def test_models_are_asked_where_they_live(model: str, host: str) -> None:
    assert OpenAIChatCompletionClient(model=model, api_key="k")._sdk.base_url.host == host
    # MC-24
    proxy = OpenAIChatCompletionClient(model=model, api_key="k", base_url="http://localhost:4000")
    assert proxy._sdk.base_url.host == "localhost"


# MC-26
def test_a_model_that_is_not_known_needs_to_be_described() -> None:
    with pytest.raises(ValueError, match=r"'my-model' is not among.*model_info="):
        OpenAIChatCompletionClient(model="my-model", api_key="k")
    with pytest.raises(ValueError, match="lacks"):
        OllamaChatCompletionClient(model="my-model", model_info={"vision": True})  # type: ignore[typeddict-item]
    client = OllamaChatCompletionClient(model="my-model", model_info=INFO)
    assert client.model_info == INFO
    assert client.capabilities == {"vision": False, "function_calling": True, "json_output": True}


# MC-26
def test_capabilities_describe_a_model_too() -> None:
    client = OpenAIChatCompletionClient(
        model="my-model",
        api_key="k",
        model_capabilities={"vision": True, "function_calling": False, "json_output": False},
    )
    assert client.model_info["vision"]
    assert client.model_info["family"] == "unknown"
    assert client.capabilities == client._config.model_capabilities


# MC-27
def test_a_type_at_construction_is_dumped_as_its_schema() -> None:
    class Step(BaseModel):
        text: str

    client = OpenAIChatCompletionClient(model="gpt-4o", response_format=Step)
    dump = json.loads(client.dump_component().model_dump_json())
    assert dump["config"]["response_format"]["json_schema"]["name"] == "Step"
    loaded = OpenAIChatCompletionClient.load_component(dump)
    assert loaded._request([], [], "auto", None, {}) == client._request([], [], "auto", Step, {})


def test_objects_that_no_configuration_describes_make_a_dump_an_error() -> None:
    client = OpenAIChatCompletionClient(
        model="gpt-4o",
        http_client=httpx2.AsyncClient(),
        token_counter=estimate_tokens,
    )
    with pytest.raises(ComponentError, match="http_client, token_counter"):
        client.dump_component()
    azure = AzureOpenAIChatCompletionClient(
        **AZURE,  # type: ignore[typeddict-item]
        azure_ad_token_provider=lambda: "token",
    )
    with pytest.raises(ComponentError, match="AzureTokenProvider"):
        azure.dump_component()


def test_importing_a_client_imports_no_sdk() -> None:
    program = (
        "import sys\n"
        "import trio_agents.ext.models.openai, trio_agents.ext.models.anthropic\n"
        "import trio_agents.ext.models.ollama, trio_agents.ext.auth.azure\n"
        "found = {'openai', 'anthropic', 'ollama', 'httpx', 'httpx2', 'azure'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("sdk", "make"),
    [
        ("openai", lambda: OpenAIChatCompletionClient(model="gpt-4o")),
        ("anthropic", lambda: AnthropicChatCompletionClient(model="claude-sonnet-5")),
        ("ollama", lambda: OllamaChatCompletionClient(model="llama3.2")),
    ],
)
def test_an_sdk_that_is_not_installed_is_an_error_that_says_how_to_get_it(
    sdk: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, sdk, None)
    with pytest.raises(ImportError, match=rf"pip install 'trio-agents\[{sdk}\]'"):
        make()


def test_tokens_are_estimated_or_counted_by_whoever_can() -> None:
    asked = [UserMessage(content="twelve bytes", source="bob")]
    client = OpenAIChatCompletionClient(model="gpt-4o")
    assert client.count_tokens(asked) == 4 + 3
    assert client.count_tokens(asked, tools=[{"name": "add"}]) > 7
    assert client.remaining_tokens(asked) == 128_000 - 7
    exact = OpenAIChatCompletionClient(
        model="gpt-4o", token_counter=lambda messages, tools: 100, token_limit=1000
    )
    assert exact.remaining_tokens(asked) == 900
    unknown = OllamaChatCompletionClient(model="my-model", model_info=INFO)
    with pytest.raises(ValueError, match="pass token_limit"):
        unknown.remaining_tokens(asked)


class Credential:
    """One that counts; its class is called as the one that is described."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def get_token(self, *scopes: str) -> Any:
        self.asked.append(scopes)
        return type("Token", (), {"token": "from entra"})


# MC-31
async def test_a_token_provider_that_blocks_runs_in_a_thread_and_one_that_waits_does_not() -> None:
    import threading

    threads: list[object] = []

    def blocking() -> str:
        threads.append(threading.current_thread())
        return "blocking"

    async def waiting() -> str:
        await anyio.lowlevel.checkpoint()
        return "waiting"

    credential = Credential()
    component = AzureTokenProvider(credential, "scope")
    for provider, token in (
        (blocking, "blocking"),
        (waiting, "waiting"),
        (lambda: waiting(), "waiting"),
        (component, "from entra"),
    ):
        client = AzureOpenAIChatCompletionClient(
            **AZURE,  # type: ignore[typeddict-item]
            azure_ad_token_provider=provider,  # type: ignore[arg-type]
        )
        assert await client._sdk._get_azure_ad_token() == token  # type: ignore[attr-defined]
    assert threads != [threading.current_thread()]
    assert credential.asked == [("scope",)]


def test_a_token_provider_is_a_component_if_it_has_no_secrets() -> None:
    description = ComponentModel(
        provider="autogen_ext.auth.azure.AzureTokenProvider",
        config={"provider_kind": "DefaultAzureCredential", "scopes": ["s"]},
    )
    provider = ComponentLoader.load_component(description, AzureTokenProvider)
    assert provider.dump_component().config == description.config
    with pytest.raises(ComponentError, match="not a Credential"):
        AzureTokenProvider(Credential(), "s").dump_component()
    description.config["provider_kind"] = "os"
    with pytest.raises(ComponentError, match="must be DefaultAzureCredential, not 'os'"):
        ComponentLoader.load_component(description, AzureTokenProvider)
    with pytest.raises(ValueError, match="say what the tokens are for"):
        AzureTokenProvider(Credential())
