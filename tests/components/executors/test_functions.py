"""Functions that code can import, virtual environments and what is installed there."""

from __future__ import annotations

import importlib.util
import shutil
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trio_agents.code_executor import (
    FunctionWithRequirements,
    FunctionWithRequirementsStr,
    with_requirements,
)
from trio_agents.ext.code_executors._functions_module import FunctionsModule
from trio_agents.ext.code_executors.local import LocalCommandLineCodeExecutor, Sandbox

from .probes import needs_bubblewrap, outcome, python, sh


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@with_requirements(global_imports=["os"])
def home() -> str:
    return os.environ["HOME"]  # type: ignore[name-defined]  # noqa: F821


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that can be installed without a network."""
    path = tmp_path_factory.mktemp("wheels") / "tinypackage-1.0-py3-none-any.whl"
    info = "tinypackage-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tinypackage.py", "ANSWER = 42\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinypackage\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    directory = tmp_path_factory.mktemp("environment") / "venv"
    builder = venv.EnvBuilder(symlinks=True)
    builder.create(directory)
    # The pip that is here, compiled: to unpack Python's own takes a quarter of a minute.
    pip = importlib.util.find_spec("pip")
    assert pip is not None
    assert pip.origin is not None
    [packages] = directory.glob("lib/python*/site-packages")
    shutil.copytree(Path(pip.origin).parent, packages / "pip")
    return builder.ensure_directories(directory)


# CE-17
async def test_all_code_runs_in_the_virtual_environment(
    tmp_path: Path, environment: SimpleNamespace
) -> None:
    executor = LocalCommandLineCodeExecutor(
        work_dir=tmp_path, virtual_env_context=environment, sandbox=None
    )
    code = "import sys; print(sys.prefix)"
    _, output = await outcome(executor, python(code), sh(f"python -c '{code}'; command -v python"))
    directory = environment.env_dir
    assert output == f"{directory}\n{directory}\n{directory}/bin/python\n"


# CE-17
@pytest.mark.parametrize(
    "sandbox", [None, pytest.param(Sandbox(), marks=needs_bubblewrap)], ids=["host", "sandbox"]
)
async def test_what_functions_need_is_installed_there(
    tmp_path: Path, environment: SimpleNamespace, wheel: Path, sandbox: Sandbox | None
) -> None:
    function = FunctionWithRequirements.from_str(
        "def answer() -> int:\n    return tinypackage.ANSWER\n",
        python_packages=[str(tmp_path / wheel.name)],
        global_imports=["tinypackage"],
    )
    shutil.copy(wheel, tmp_path)
    executor = LocalCommandLineCodeExecutor(
        work_dir=tmp_path,
        functions=[function],
        virtual_env_context=environment,
        sandbox=sandbox,
    )
    block = python("from functions import answer; print(answer())")
    assert await outcome(executor, block) == (0, "42\n")


async def test_what_cannot_be_installed_is_an_error(
    tmp_path: Path, environment: SimpleNamespace
) -> None:
    function = FunctionWithRequirementsStr("def f(): ...", [str(tmp_path / "nothing.whl")])
    executor = LocalCommandLineCodeExecutor(
        work_dir=tmp_path, functions=[function], virtual_env_context=environment, sandbox=None
    )
    with pytest.raises(ValueError, match=r"could not be installed: .*nothing\.whl"):
        await outcome(executor, python("print(1)"))


def test_a_sandbox_without_an_environment_takes_no_packages() -> None:
    function = FunctionWithRequirementsStr("def f(): ...", ["pandas"])
    with pytest.raises(ValueError, match=r"need pandas, .* give a virtual_env_context"):
        LocalCommandLineCodeExecutor(functions=[function], sandbox=Sandbox())


def test_an_environment_that_is_not_there_is_refused(tmp_path: Path) -> None:
    context = SimpleNamespace(
        env_dir=str(tmp_path), bin_path=str(tmp_path), env_exe=str(tmp_path / "python")
    )
    with pytest.raises(ValueError, match="create it first"):
        LocalCommandLineCodeExecutor(virtual_env_context=context, sandbox=None)


@pytest.mark.parametrize(
    "sandbox", [None, pytest.param(Sandbox(), marks=needs_bubblewrap)], ids=["host", "sandbox"]
)
async def test_code_imports_functions_of_the_application(
    tmp_path: Path, sandbox: Sandbox | None
) -> None:
    executor = LocalCommandLineCodeExecutor(
        work_dir=tmp_path, functions=[add, home], functions_module="lib", sandbox=sandbox
    )
    block = python("from lib import add, home; print(add(1, 2), home())")
    assert await outcome(executor, block) == (0, f"3 {tmp_path}\n")
    assert executor.functions == (add, home)
    assert executor.functions_module == "lib"


async def test_after_a_stop_while_they_are_put_in_place_functions_are_there_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = LocalCommandLineCodeExecutor(functions=[add], sandbox=None)
    offer = FunctionsModule.offer

    async def offer_and_stop(module: FunctionsModule, *arguments: Any) -> None:
        await offer(module, *arguments)
        await executor.stop()  # as another task could

    with monkeypatch.context() as patch:
        patch.setattr(FunctionsModule, "offer", offer_and_stop)
        await executor.start()
    block = python("from functions import add; print(add(1, 2))")
    assert await outcome(executor, block) == (0, "3\n")
    await executor.stop()


async def test_functions_that_cannot_be_imported_are_an_error(tmp_path: Path) -> None:
    function = FunctionWithRequirementsStr("def f(): ...", (), ["no_such_module"])
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, functions=[function], sandbox=None)
    with pytest.raises(ValueError, match=r"(?s)cannot be imported: .*no_such_module"):
        await outcome(executor, python("print(1)"))


def test_functions_are_described_to_a_model(tmp_path: Path) -> None:
    executor = LocalCommandLineCodeExecutor(work_dir=tmp_path, functions=[add], sandbox=None)
    text = executor.format_functions_for_prompt()
    assert "`functions`" in text
    assert text.endswith('def add(a: int, b: int) -> int:\n    """Add two numbers."""\n    ...')
    assert executor.format_functions_for_prompt("$module_name!") == "functions!"
    assert LocalCommandLineCodeExecutor(sandbox=None).format_functions_for_prompt() == ""
