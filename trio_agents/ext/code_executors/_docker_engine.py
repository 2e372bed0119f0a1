"""The Docker Engine's API over its socket, as far as an executor needs it.

Plain HTTP, so that every wait can be cancelled, on both loops; Docker's own SDK blocks a thread,
which cannot. The requests are the same in all versions of the API since 1.41 (Docker 20.10, Podman
4), and made in the version that the engine says it speaks.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, final

import anyio

from ..._components._extras import import_extra

if TYPE_CHECKING:
    import httpx2

__all__ = ["DockerError", "Engine", "EngineAddress", "Frames"]

_DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_PATIENCE: Final = 60.0  # seconds for an engine that does not answer; stopping takes some
_LONGEST_END: Final = 65536
_HEADER: Final = struct.Struct(">BxxxI")  # the stream, three zeros, the size of what follows


class DockerError(RuntimeError):
    """The Docker engine cannot be reached, or has refused a request.

    Attributes:
        status: The HTTP status of its answer; None if there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@final
class EngineAddress:
    """Where the engine is: ``DOCKER_HOST``, or the socket where it usually is."""

    def __init__(self, host: str | None = None) -> None:
        """Take the address from *host* or the environment.

        Raises:
            DockerError: it is neither a Unix socket nor plain TCP, or httpx2 is not installed.
        """
        self.host = host or os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
        scheme, _, rest = self.host.partition("://")
        if scheme == "unix":
            self._socket: str | None = rest
            self._base = "http://docker"
        elif scheme in ("tcp", "http") and not os.environ.get("DOCKER_TLS_VERIFY"):
            self._socket = None
            self._base = f"http://{rest}"
        else:
            raise DockerError(
                f"the Docker engine has to be at unix:///path or tcp://host:port without TLS, "
                f"not {self.host!r}: forward its socket, for example with ssh -L"
            )

    def client(self) -> httpx2.AsyncClient:
        """Return a client for it."""
        import_extra("httpx2", "docker", purpose="DockerCommandLineCodeExecutor")
        import httpx2

        transport = httpx2.AsyncHTTPTransport(uds=self._socket)
        return httpx2.AsyncClient(transport=transport, base_url=self._base, timeout=None)

    def request_now(self, method: str, path: str) -> None:
        """Send a request and wait in this thread, for the end of a program."""
        import httpx2

        transport = httpx2.HTTPTransport(uds=self._socket)
        with httpx2.Client(transport=transport, base_url=self._base, timeout=30) as client:
            client.request(method, path)


@final
class Engine:
    """A connection to the engine, on the event loop that it was opened on."""

    def __init__(self, address: EngineAddress, client: httpx2.AsyncClient, version: str) -> None:
        self._address = address
        self._client = client
        self.version = version

    @classmethod
    async def connect(cls, address: EngineAddress) -> Engine:
        """Ask the engine which version of the API it speaks.

        Raises:
            DockerError: it cannot be reached.
        """
        client = address.client()
        engine = cls(address, client, "")
        try:
            answer = await engine._send("GET", "/_ping", None, {}, _PATIENCE)
            await _read("GET", "/_ping", answer)
            version = answer.headers.get("Api-Version")
            engine.version = f"/v{version}" if version else ""
        except BaseException:  # goes on; without it the client would stay open
            with anyio.CancelScope(shield=True):
                await client.aclose()
            raise
        return engine

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _send(
        self, method: str, path: str, body: object, query: dict[str, str], patience: float | None
    ) -> httpx2.Response:
        import httpx2

        request = self._client.build_request(
            method, f"{self.version}{path}", params=query, json=body, timeout=patience
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.HTTPError as error:
            raise DockerError(
                f"the Docker engine at {self._address.host} cannot be reached ({error}): start "
                f"it, or say where it is in DOCKER_HOST"
            ) from error
        if response.status_code >= 400:
            reason = _reason(await _read(method, path, response))
            raise DockerError(f"{method} {path}: {reason}", response.status_code)
        return response

    async def ask(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Send a request and return the answer: JSON, or None if there is nothing in it.

        Raises:
            DockerError: the engine refuses, cannot be reached, or what answers is no engine.
        """
        response = await self._send(method, path, body, query, _PATIENCE)
        content = await _read(method, path, response)
        try:
            return json.loads(content) if content else None
        except ValueError as error:
            raise DockerError(
                f"{method} {path}: the answer is not JSON, as a Docker engine's would be: is "
                f"{self._address.host} one?"
            ) from error

    @asynccontextmanager
    async def stream(
        self, path: str, body: object = None, **query: str
    ) -> AsyncGenerator[httpx2.Response]:
        """POST, with the answer to be read inside of the block."""
        import httpx2

        response = await self._send("POST", path, body, query, None)  # silence is no failure
        try:
            yield response
        except httpx2.HTTPError as error:
            raise _broke_off("POST", path, error) from error
        finally:
            # Shielded: to close is not to wait for the engine.
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def pull(self, image: str) -> None:
        """Get *image* from its registry.

        Raises:
            DockerError: it is not there, or the transfer broke off.
        """
        name, _, tag = image.rpartition(":")
        if not name or "/" in tag:  # a port, not a tag
            name, tag = image, "latest"
        query = {"fromImage": image} if "@" in image else {"fromImage": name, "tag": tag}
        # It answers 200 at once, and says later, in lines of JSON, whether it went well. They are
        # read to the end: httpx2's generators do not like to be left before.
        said = b""
        async with self.stream("/images/create", None, **query) as response:
            async for data in response.aiter_raw():
                said = (said + data)[-_LONGEST_END:]
        for line in said.splitlines()[-3:]:
            if b'"error"' in line:
                raise DockerError(f"the image {image} cannot be pulled: {_reason(line)}")


async def _read(method: str, path: str, response: httpx2.Response) -> bytes:
    import httpx2

    try:
        return await response.aread()
    except httpx2.HTTPError as error:
        raise _broke_off(method, path, error) from error


def _broke_off(method: str, path: str, error: Exception) -> DockerError:
    return DockerError(f"{method} {path}: the answer broke off ({error})")


def _reason(content: bytes) -> str:
    try:
        told = json.loads(content)
        return str(told.get("message") or told["error"])
    except (ValueError, KeyError, AttributeError):
        return content.decode(errors="replace")


@final
class Frames:
    """Takes apart the stream of a process: both of its outputs, in frames with a header."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self._header = b""
        self._missing = 0

    def add(self, data: bytes) -> None:
        """Take *data* in, which may end anywhere."""
        while data:
            if self._missing:
                self._take(data[: self._missing])
                taken = min(len(data), self._missing)
                self._missing -= taken
                data = data[taken:]
                continue
            needed = _HEADER.size - len(self._header)
            self._header += data[:needed]
            data = data[needed:]
            if len(self._header) == _HEADER.size:
                _, self._missing = _HEADER.unpack(self._header)
                self._header = b""
