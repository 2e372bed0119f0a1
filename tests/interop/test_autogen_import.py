"""AutoGen is optional: nothing imports it but this module, which says what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout


@pytest.mark.parametrize("module", ["trio_agents", "trio_agents.asyncio", "trio_agents.interop"])
def test_importing_us_does_not_import_autogen(module: str) -> None:
    assert run(f"import sys, {module}; print('autogen_core' in sys.modules)") == "False\n"


def test_without_autogen_the_import_says_what_to_install() -> None:
    code = """
import sys
sys.modules["autogen_core"] = None
try:
    import trio_agents.interop.autogen
except ImportError as exc:
    print(exc)
"""
    assert run(code) == (
        "autogen_core, for trio_agents.interop.autogen, is not installed: "
        "pip install 'trio-agents[autogen]'\n"
    )


def test_another_missing_module_is_named_as_it_is() -> None:
    code = """
import sys
sys.modules["anyio"] = None
try:
    import trio_agents.interop.autogen
except ModuleNotFoundError as exc:
    print(exc.name)
"""
    assert run(code) == "anyio\n"
