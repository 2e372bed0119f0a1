"""The servers that the clients are tried against, and what is known of their sockets.

The SDKs leave inner async generators of theirs unfinished after every stream, also after one that
was read to its end and closed. The connection is closed then, which tests here count; only trio's
warning is left, and only here nobody wants it.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import os
import shutil
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import psutil
import pytest

from trio_agents.models import ChatCompletionClient

HERE: Final = Path(__file__).parent
NOISE: Final = "ignore:Async generator .(openai|httpx|httpcore|anthropic|ollama):ResourceWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(NOISE))


def _aimock() -> list[str]:
    """Find the server: an npm package, in the directory that is named or beside these tests."""
    named = os.environ.get("TRIO_AGENTS_TEST_SERVERS")
    where = Path(named) if named else HERE.parent / "servers"
    script = where / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    node = shutil.which("node")
    if node is None or not script.exists():
        missing = "Node.js is not installed" if node is None else f"there is no {script}"
        pytest.skip(f"{missing}: npm ci --prefix tests/components/servers")
    return [node, str(script)]


class ModelServer:
    """An aimock: it answers as it was told, and keeps what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])

    def _call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/__aimock{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def answers(self, match: str, *responses: dict[str, Any], **how: Any) -> None:
        """Say what follows on a user's message with *match* in it: each response once, in order."""
        many = len(responses) > 1
        fixtures = [
            {
                "match": {"userMessage": match} | ({"sequenceIndex": index} if many else {}),
                "response": response,
                **how,
            }
            for index, response in enumerate(responses)
        ]
        self._call("POST", "/fixtures", {"fixtures": fixtures})

    def fixtures(self, *fixtures: dict[str, Any]) -> None:
        """Say what follows on what, in the server's own words."""
        self._call("POST", "/fixtures", {"fixtures": list(fixtures)})

    def requests(self, match: str) -> list[dict[str, Any]]:
        """Return the bodies of requests in which *match* occurs."""
        entries = self._call("GET", "/journal")
        bodies: list[dict[str, Any]] = [entry["body"] for entry in entries]
        return [body for body in bodies if match in json.dumps(body)]

    def established(self) -> int:
        """Count the connections that this process has with the server."""
        return len(
            [
                connection
                for connection in psutil.Process().net_connections(kind="tcp")
                if connection.raddr
                and connection.raddr.port == self.port
                and connection.status == psutil.CONN_ESTABLISHED
            ]
        )


@pytest.fixture(scope="session")
def aimock() -> Iterator[ModelServer]:
    """The server, for all tests: each says what it answers to a message of its own."""
    process = subprocess.Popen(
        [*_aimock(), "-p", "0", "-f", str(HERE / "fixtures.json"), "--journal-max", "5000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "listening on " in line:
                break
        else:
            pytest.fail(f"aimock did not start: {''.join(lines)}")
        # It says a line for each request; a full pipe would stop it.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        yield ModelServer(line.partition("listening on ")[2].strip())
        process.terminate()
        reader.join(timeout=10)
    finally:
        process.kill()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


_numbers = itertools.count(1)


@pytest.fixture
def ask() -> str:
    """A user's message that no other test says. With closing words: none is part of another."""
    return f"question-{next(_numbers)}."


class Provider:
    """One of the clients, and what its SDK and its API call things."""

    def __init__(
        self,
        client: str,
        model: str,
        refused: str,
        timed_out: tuple[str, ...],
        cut: tuple[str, ...],
        where: Callable[[str], dict[str, Any]],
    ) -> None:
        self.client, self.model = client, model
        self.refused, self.timed_out, self.cut, self.where = refused, timed_out, cut, where
        self.name = client.removesuffix("ChatCompletionClient").lower()

    def __call__(self, url: str, **options: Any) -> ChatCompletionClient:
        """Make a client for the server at *url*."""
        module = importlib.import_module(f"trio_agents.ext.models.{self.name}")
        defaults = {"model": self.model, **self.where(url)}
        if self.name != "ollama":
            defaults |= {"api_key": "sk-test", "max_retries": 0}
        client: ChatCompletionClient = getattr(module, self.client)(**{**defaults, **options})
        return client

    def small_pool(self, size: int) -> dict[str, Any]:
        """Return options for a client with a pool of *size* connections."""
        if self.name == "ollama":
            return {}
        http_client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=size), timeout=60)
        return {"http_client": http_client}

    def recording(self, sent: list[dict[str, Any]]) -> dict[str, Any]:
        """Return options for a client whose requests are put into *sent*, as they leave."""

        async def record(request: Any) -> None:
            sent.append(json.loads(request.content))

        hooks = {"request": [record]}
        if self.name == "ollama":
            return {"http_options": {"event_hooks": hooks}}
        return {"http_client": httpx2.AsyncClient(event_hooks=hooks)}

    def error(self, names: str | tuple[str, ...]) -> tuple[type[Exception], ...]:
        """Return the classes of exceptions called *names*, as ``module.Name``."""
        found: list[type[Exception]] = []
        for name in (names,) if isinstance(names, str) else names:
            module, _, attribute = name.rpartition(".")
            found.append(getattr(importlib.import_module(module), attribute))
        return tuple(found)


PROVIDERS: Final = {
    provider.name: provider
    for provider in (
        Provider(
            "OpenAIChatCompletionClient",
            "gpt-4o",
            "openai.RateLimitError",
            ("openai.APITimeoutError",),
            ("openai.APIConnectionError",),
            lambda url: {"base_url": f"{url}/v1"},
        ),
        Provider(
            "AnthropicChatCompletionClient",
            "claude-sonnet-5",
            "anthropic.RateLimitError",
            ("anthropic.APITimeoutError",),
            ("anthropic.APIConnectionError",),
            lambda url: {"base_url": url},
        ),
        Provider(
            "OllamaChatCompletionClient",
            "qwen3:8b",
            "ollama.ResponseError",
            ("httpx.ReadTimeout",),
            ("httpx.RemoteProtocolError", "httpx.ReadError"),
            lambda url: {"host": url},
        ),
    )
}


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Provider:
    """Each of the clients in turn."""
    found: Provider = PROVIDERS[request.param]
    return found


@pytest.fixture
def cancels() -> int:
    """How many requests are cancelled at any moment; the full number is a thousand."""
    return int(os.environ.get("TRIO_AGENTS_CANCELS", "200"))


@pytest.fixture(autouse=True, scope="session")
def one_ssl_context() -> Iterator[None]:
    """Let the clients share what they do not use here: making it takes 50 ms for each."""
    make = ssl.create_default_context
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(make))
        yield
