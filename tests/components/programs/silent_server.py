"""Stands where a program looks for aimock: it takes every request and never answers."""

import socket

with socket.create_server(("127.0.0.1", 0)) as server:
    print(f"listening on http://127.0.0.1:{server.getsockname()[1]}", flush=True)
    connections = []
    while True:
        connections.append(server.accept())
