"""What there is to be imported is found out by importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_agents._migrate._target import BrokenTarget, InstalledTarget


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledTarget:
    """Make a package beside this test's other files, which no other test imports."""
    name = f"target_{abs(hash(tmp_path))}"
    files = {
        "__init__.py": "A = 1",
        "part/__init__.py": "",
        "part/deep.py": "B = 2",
        "plain.py": "C = 3",
        "needy.py": "import there_is_no_such_module",
        "wrong.py": f"from {name} import there_is_no_such_name",
    }
    for path, text in files.items():
        file = tmp_path / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return InstalledTarget(name)


@pytest.mark.parametrize(
    ("module", "there"),
    [("", True), ("part", True), ("part.deep", True), ("x", False), ("x.y", False), ("a", False)],
)  # fmt: skip
def test_modules_are_there_or_not(package: InstalledTarget, module: str, there: bool) -> None:
    assert package.has_module(module) is there


@pytest.mark.parametrize(
    ("module", "name", "there"),
    [
        ("", "A", True),
        ("", "B", False),
        ("", "part", True),
        ("part", "deep", True),
        ("part.deep", "B", True),
        ("part.deep", "C", False),
        ("x", "A", False),
        ("plain", "x", False),
    ],
)
def test_names_are_attributes_or_modules(
    package: InstalledTarget, module: str, name: str, there: bool
) -> None:
    assert package.has_name(module, name) is there


@pytest.mark.parametrize("module", ["needy", "wrong"])
def test_a_module_that_cannot_be_imported_is_an_error(
    package: InstalledTarget, module: str
) -> None:
    with pytest.raises(BrokenTarget, match=rf"\.{module} cannot be imported: .*there_is_no_such"):
        package.has_module(module)


def test_a_package_that_is_not_there_has_nothing() -> None:
    target = InstalledTarget("there_is_no_such_package.of_ours")
    assert not target.has_module("")
    assert not target.has_name("", "A")


def test_the_installed_one_has_what_programs_import() -> None:
    target = InstalledTarget()
    assert target.has_name("", "RoutedAgent")
    assert target.has_name("exceptions", "CantHandleException")
    assert target.has_name("logging", "MessageEvent")
    assert not target.has_name("", "NoSuchName")
