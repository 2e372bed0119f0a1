"""The clients against a second independent server, written in Python: it is there without Node."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from trio_agents import FunctionCall
from trio_agents.models import CreateResult, UserMessage
from trio_agents.tools import ToolSchema

from .conftest import PROVIDERS

RULES = """
version: 1
rules:
  - name: greeting
    when: {messages_contain: "hello"}
    respond: {content: "Hi there, and welcome."}
  - name: tool
    when: {messages_contain: "what time"}
    respond:
      tool_calls:
        - name: now
          arguments: {zone: "UTC"}
  - name: refused
    when: {messages_contain: "too much"}
    respond: {status: 429, error: "slow down"}
"""
NOW = ToolSchema(name="now", description="The time.")


@pytest.fixture(scope="session")
def fakellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("fakellm")
    rules: Path = tmp_path_factory.mktemp("fakellm") / "fakellm.yaml"
    rules.write_text(RULES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"from fakellm.cli import main; main(['serve', '--port', '{port}'])"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{command}"],
        cwd=rules.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 30
        while True:  # it does not say when it listens
            try:
                urllib.request.urlopen(url, timeout=5)
            except urllib.error.HTTPError:
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    pytest.fail("fakellm did not start")
                time.sleep(0.05)
            else:
                break
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_second_server_is_understood_too(fakellm: str, name: str) -> None:
    client = PROVIDERS[name](fakellm)
    hello = UserMessage(content="hello", source="bob")
    assert (await client.create([hello])).content == "Hi there, and welcome."
    async with aclosing(client.create_stream([hello])) as stream:
        pieces: list[Any] = [piece async for piece in stream]
    *texts, result = pieces
    assert "".join(texts) == "Hi there, and welcome."
    assert isinstance(result, CreateResult)
    assert result.content == "Hi there, and welcome."
    assert result.finish_reason == "stop"

    time_ = UserMessage(content="what time is it?", source="bob")
    called = await client.create([time_], tools=[NOW])
    (call,) = called.content
    assert isinstance(call, FunctionCall)
    assert (call.name, called.finish_reason) == ("now", "function_calls")

    with pytest.raises(PROVIDERS[name].error(PROVIDERS[name].refused)):
        await client.create([UserMessage(content="too much", source="bob")])
    await client.close()


async def test_streamed_calls_of_a_second_server_are_put_together(fakellm: str) -> None:
    client = PROVIDERS["openai"](fakellm)
    asked = UserMessage(content="what time is it?", source="bob")
    async with aclosing(client.create_stream([asked], tools=[NOW])) as stream:
        (result,) = [piece async for piece in stream if isinstance(piece, CreateResult)]
    (call,) = result.content
    assert isinstance(call, FunctionCall)
    assert call.name == "now"
    assert "UTC" in call.arguments
    await client.close()
