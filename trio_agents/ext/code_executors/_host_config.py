"""What configurations of executors that run code on this machine have in common."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr

from ..._components._config_data import ComponentConfig
from ._host import DEFAULT_KILL_GRACE, Host
from ._limits import ResourceLimits
from ._output import DEFAULT_MAX_OUTPUT
from ._sandbox import Sandbox

__all__ = ["HostConfig", "config_of"]


class HostConfig(ComponentConfig):
    """The configuration of a `Host`, as the arguments of an executor give it."""

    env: dict[str, SecretStr] = Field(default_factory=dict[str, SecretStr])
    sandbox: Sandbox | None = None
    limits: ResourceLimits | None = None
    kill_grace: float = DEFAULT_KILL_GRACE
    max_output: int = DEFAULT_MAX_OUTPUT

    def host_arguments(self) -> dict[str, Any]:
        """Return these arguments."""
        arguments: dict[str, Any] = {
            "env": {name: value.get_secret_value() for name, value in self.env.items()},
            "limits": self.limits,
            "kill_grace": self.kill_grace,
            "max_output": self.max_output,
        }
        if self.sandbox is not None:  # that there is none was not decided by the program
            arguments["sandbox"] = self.sandbox
        return arguments


def config_of(host: Host) -> dict[str, Any]:
    """Return what is to be in a configuration of a host."""
    return {
        "env": {name: SecretStr(value) for name, value in host.env.items()},
        "sandbox": host.sandbox,
        "limits": host.limits,
        "kill_grace": host.kill_grace,
        "max_output": host.max_output,
    }
