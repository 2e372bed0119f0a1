"""What is missing is named by the extra that brings it."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

import trio_agents
from trio_agents._components._extras import import_extra

PACKAGE = Path(trio_agents.__file__).parent
PROJECT = PACKAGE.parent / "pyproject.toml"


def extras_named() -> set[tuple[str, str]]:
    return {
        (path.relative_to(PACKAGE).as_posix(), extra)
        for path in PACKAGE.rglob("*.py")
        for found in re.findall(
            r"""import_extra\(\s*f?"[^"]+",\s*"(\w+)"|trio-agents\[(\w+)\]""",
            path.read_text("utf-8"),
        )
        for extra in filter(None, found)
    }


@pytest.mark.skipif(not PROJECT.exists(), reason="the package is not in a checkout")
def test_each_extra_that_an_error_names_is_one_of_the_projects() -> None:
    project = tomllib.loads(PROJECT.read_text("utf-8"))
    named = extras_named()
    assert len({extra for _, extra in named}) > 8
    assert [
        pair for pair in named if pair[1] not in project["project"]["optional-dependencies"]
    ] == []


def test_what_an_installed_library_lacks_itself_is_not_taken_for_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking.py").write_text("import no_such_module_of_theirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_theirs") as raised:
        import_extra("lacking", "openai", purpose="a test")
    assert "trio-agents" not in str(raised.value)
    sys.modules.pop("lacking", None)
