"""A stand-in for the Docker engine: its API over a Unix socket, with processes of this machine.

An engine needs rights that a machine which runs tests seldom gives, and images from a network. So
that the requests of the executor, its reading of the streams and above all the way it kills are
tested everywhere, this server keeps containers and execs as the documentation of the API (1.41 and
later) describes them: which states they have, which requests are refused in which, how the two
outputs of a process are framed. What runs in an exec really runs, in a session of its own as in a
container, with ``/workspace`` standing for the bound directory. As with the real engine, a process
goes on when whoever started it closes the connection.

It isolates nothing. The tests that use it run against a real engine as well, where there is one.
"""

from __future__ import annotations

import json
import os
import signal
import socketserver
import struct
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

API_VERSION: Final = "1.47"


def with_tag(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


class Refused(Exception):
    """A request that the engine answers with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Container:
    id: str
    name: str
    body: dict[str, Any]
    running: bool = False

    @property
    def workspace(self) -> str:
        binds: list[str] = self.body["HostConfig"]["Binds"]
        return binds[0].partition(":")[0]


@dataclass
class Exec:
    id: str
    container: Container
    body: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None


@dataclass
class StandIn:
    """The state of the engine, and its server."""

    socket: Path
    images: set[str] = field(default_factory=lambda: {"python:3-slim"})
    containers: dict[str, Container] = field(default_factory=dict)
    execs: dict[str, Exec] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    pull_error: str | None = None
    is_broken: Callable[[str], bool] = lambda request: False  # it answers those with 500
    breaks_off: Callable[[str], bool] = lambda request: False  # and those half way
    is_web_server: bool = False  # and no engine at all
    no_shell: bool = False  # the image has no ``sh``, so nothing can be run
    deaf_to_kill: bool = False  # a process that SIGKILL of its session does not reach
    created: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        stand_in = self

        class Handler(_Handler):
            engine = stand_in

        self._server = socketserver.ThreadingUnixStreamServer(str(self.socket), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for container in list(self.containers.values()):
            self.kill_all_in(container)

    def kill_all_in(self, container: Container) -> None:
        for run in self.execs.values():
            if run.container is container and run.process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(run.process.pid, signal.SIGKILL)
                run.process.wait()

    # The requests.

    def find(self, key: str) -> Container:
        for container in self.containers.values():
            if key in (container.id, container.name):
                return container
        raise Refused(404, f"No such container: {key}")

    def create(self, name: str, body: dict[str, Any]) -> Container:
        if with_tag(body["Image"]) not in self.images:
            raise Refused(404, f"No such image: {body['Image']}")
        if any(container.name == name for container in self.containers.values()):
            raise Refused(409, f'Conflict. The container name "/{name}" is already in use')
        container = Container(f"c{len(self.containers)}{os.urandom(4).hex()}", name, body)
        self.containers[container.id] = container
        self.created.set()
        return container

    def stop(self, container: Container) -> None:
        self.kill_all_in(container)
        container.running = False
        if container.body["HostConfig"]["AutoRemove"]:
            del self.containers[container.id]

    def spawn(self, run: Exec, output: int | None) -> subprocess.Popen[bytes]:
        if not run.container.running:
            raise Refused(409, f"container {run.container.id} is not running")
        inside = [part.replace("/workspace", run.container.workspace) for part in run.body["Cmd"]]
        if self.deaf_to_kill and "kill -s KILL" in inside[-1]:
            inside = ["true"]
        env = dict(entry.split("=", 1) for entry in run.body.get("Env", []))
        run.process = subprocess.Popen(
            inside,
            cwd=run.container.workspace,
            env={"PATH": os.environ["PATH"], **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.PIPE if output is None else output,
            start_new_session=True,
        )
        return run.process


class _Handler(BaseHTTPRequestHandler):
    engine: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "a Unix socket"

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path.removeprefix(f"/v{API_VERSION}")
        request = f"{self.command} {path}"
        self.engine.requests.append(request)
        try:
            if self.engine.breaks_off(request):
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b'{"Id":')
                self.close_connection = True
                return
            if self.engine.is_broken(request):
                raise Refused(500, f"no {request} today")
            self._answer(self.command, path.strip("/").split("/"), query, body)
        except Refused as refused:
            self._json(refused.status, {"message": str(refused)})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _json(self, status: int, content: object = None) -> None:
        data = b"" if content is None else json.dumps(content).encode()
        if self.engine.is_web_server:
            data = b"<html>"
        self.send_response(status)
        self.send_header("Api-Version", API_VERSION)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(
        self, method: str, path: list[str], query: dict[str, str], body: dict[str, Any]
    ) -> None:
        engine = self.engine
        match method, *path:
            case "GET", "_ping":
                self._json(200)
            case "GET", "images", *name, "json":
                if with_tag("/".join(name)) not in engine.images:
                    raise Refused(404, f"No such image: {'/'.join(name)}")
                self._json(200, {"Id": "sha256:0"})
            case "POST", "images", "create":
                self._pull(f"{query['fromImage']}:{query['tag']}")
            case "POST", "containers", "create":
                container = engine.create(query["name"], body)
                self._json(201, {"Id": container.id, "Warnings": []})
            case "POST", "containers", key, "start":
                engine.find(key).running = True
                self._json(204)
            case "POST", "containers", key, "stop":
                engine.stop(engine.find(key))
                self._json(204)
            case "POST", "containers", key, "restart":
                engine.kill_all_in(engine.find(key))
                engine.find(key).running = True
                self._json(204)
            case "DELETE", "containers", key:
                container = engine.find(key)
                if container.running and query.get("force") != "true":
                    raise Refused(409, "You cannot remove a running container")
                engine.kill_all_in(container)
                del engine.containers[container.id]
                self._json(204)
            case "POST", "containers", key, "exec":
                container = engine.find(key)
                if not container.running:
                    raise Refused(409, f"container {key} is not running")
                run = Exec(f"e{len(engine.execs)}", container, body)
                engine.execs[run.id] = run
                self._json(201, {"Id": run.id})
            case "POST", "exec", key, "start":
                self._start(engine.execs[key], detach=body["Detach"])
            case "GET", "exec", key, "json":
                process = engine.execs[key].process
                code = 126 if engine.no_shell else None if process is None else process.wait()
                self._json(200, {"ID": key, "Running": False, "ExitCode": code})
            case _:
                raise Refused(404, "page not found")

    def _pull(self, image: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        lines: list[dict[str, str]] = [{"status": f"Pulling from {image}"}]
        if self.engine.pull_error is not None:
            lines.append({"error": self.engine.pull_error})
        else:
            self.engine.images.add(image)
        for line in lines:
            data = json.dumps(line).encode() + b"\r\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _start(self, run: Exec, *, detach: bool) -> None:
        if detach:
            self.engine.spawn(run, subprocess.DEVNULL)
            self._json(200)
            return
        process = None if self.engine.no_shell else self.engine.spawn(run, None)
        # The connection becomes the stream: no length, and its end is the end.
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.multiplexed-stream")
        self.end_headers()
        self.close_connection = True
        if process is None:
            said = b'OCI runtime exec failed: exec: "sh": executable file not found in $PATH\r\n'
            self.wfile.write(struct.pack(">BxxxI", 1, len(said)) + said)
            return
        lock = threading.Lock()

        def copy(number: int, pipe: Any) -> None:
            with pipe:
                while data := os.read(pipe.fileno(), 1000):
                    with lock, suppress(BrokenPipeError):  # it goes on without a listener
                        self.wfile.write(struct.pack(">BxxxI", number, len(data)) + data)

        copying = [
            threading.Thread(target=copy, args=(1, process.stdout)),
            threading.Thread(target=copy, args=(2, process.stderr)),
        ]
        for thread in copying:
            thread.start()
        for thread in copying:
            thread.join()
        process.wait()
