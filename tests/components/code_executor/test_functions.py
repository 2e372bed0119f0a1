from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import autogen_core.code_executor
import autogen_core.code_executor._func_with_reqs as autogen
import pytest
from pydantic import TypeAdapter, ValidationError

from trio_agents.code_executor import (
    Alias,
    FunctionWithRequirements,
    Import,
    ImportFromModule,
    with_requirements,
)
from trio_agents.code_executor._functions import (
    build_python_functions_file,
    import_to_str,
    source_of,
    to_code,
    to_stub,
)


def plain(number: int, text: str = "a") -> str:
    """Return something.

    Over two lines.
    """
    return text * number


@with_requirements(
    python_packages=["rich"],
    global_imports=["math", ImportFromModule("collections", ("abc", Alias("deque", "queue")))],
)
def needy(number: float) -> float:
    return math.floor(number)  # type: ignore[name-defined,no-any-return]  # noqa: F821


@with_requirements(global_imports=["math", Alias("json", "j")])
async def waiting() -> None: ...


def test_a_function_with_requirements_is_called_as_the_function_it_is() -> None:
    tripled = with_requirements()(plain)
    assert tripled(3) == "aaa"
    assert tripled.__name__ == "plain"
    assert tripled.__doc__ == plain.__doc__


def test_the_file_has_each_import_once_and_the_functions_without_their_decorator() -> None:
    assert build_python_functions_file([needy, waiting, plain]) == (
        "import math\n"
        "from collections import abc, deque as queue\n"
        "import json as j\n"
        "\n\n"
        "def needy(number: float) -> float:\n"
        "    return math.floor(number)  "
        "# type: ignore[name-defined,no-any-return]  # noqa: F821\n"
        "\n\n"
        "async def waiting() -> None: ...\n"
        "\n\n"
        'def plain(number: int, text: str = "a") -> str:\n'
        '    """Return something.\n\n    Over two lines.\n    """\n'
        "    return text * number\n"
    )


def shown(number: int, text: str = "a") -> str:
    """Return it."""
    return text * number


def test_a_stub_shows_how_to_call_a_function() -> None:
    stub = to_stub(shown)
    assert stub == 'def shown(number: int, text: str=\'a\') -> str:\n    """Return it."""\n    ...'


def test_a_stub_of_an_async_function_says_that_it_is_one() -> None:
    assert to_stub(waiting) == "async def waiting() -> None:\n    ..."


def test_a_function_that_is_text_is_not_run() -> None:
    text = "def harmless(x=1 / 0):\n    '''Say it.'''\n    return x\n"
    function = FunctionWithRequirements.from_str(text, ["rich"], ["os"])
    assert to_code(function) == text
    assert function.__name__ == "harmless"
    assert to_stub(function) == "def harmless(x=1 / 0):\n    '''Say it.'''\n    ...".replace(
        "'''", '"""'
    )
    with pytest.raises(NotImplementedError, match="harmless is only text"):
        function(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "exactly one function, not 0"),
        ("def a(): ...\ndef b(): ...", "exactly one function, not 2"),
        ("def a(:", "no Python"),
    ],
)
def test_text_that_is_not_one_function_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FunctionWithRequirements.from_str(text)


@pytest.mark.parametrize("what", ["os; print(1)", "os as x", "", "a..b", ".a", "class", "a b"])
def test_nothing_but_an_import_becomes_of_an_import(what: str) -> None:
    with pytest.raises(ValueError, match="dotted path of a module"):
        import_to_str(what)
    with pytest.raises(ValueError, match="dotted path of a module"):
        Alias(what, "x")
    with pytest.raises(ValueError, match="dotted path of a module"):
        ImportFromModule(what, ("x",))


@pytest.mark.parametrize("name", ["x; print(1)", "a.b", "", "from"])
def test_a_name_that_is_imported_is_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="name of Python's"):
        Alias("x", name)
    with pytest.raises(ValueError, match="name of Python's"):
        ImportFromModule("x", [name])


def test_an_import_of_nothing_or_of_a_string_is_refused() -> None:
    with pytest.raises(ValueError, match="no name is imported from x"):
        ImportFromModule("x", ())
    with pytest.raises(ValueError, match=r"as in \('abc',\), not one"):
        ImportFromModule("x", cast(Any, "abc"))


@pytest.mark.parametrize("packages", ["pandas", ["--index-url=x"], [" -r"], [" "]])
def test_an_option_of_the_installer_is_no_package(packages: Any) -> None:
    with pytest.raises(ValueError, match=r"requirement|several strings"):
        with_requirements(python_packages=packages)(plain)


def test_imports_are_read_from_json_as_autogen_writes_them() -> None:
    theirs: list[autogen_core.code_executor.Import] = [
        "os",
        autogen_core.code_executor.Alias("numpy", "np"),
        autogen_core.code_executor.ImportFromModule(
            "typing", ("Any", autogen_core.code_executor.Alias("Literal", "L"))
        ),
    ]
    written = TypeAdapter(list[autogen_core.code_executor.Import]).dump_json(theirs)
    adapter: TypeAdapter[list[Import]] = TypeAdapter(list[Import])
    ours = adapter.validate_json(written)
    assert ours == [
        "os",
        Alias("numpy", "np"),
        ImportFromModule("typing", ("Any", Alias("Literal", "L"))),
    ]
    assert list(map(import_to_str, ours)) == list(map(autogen.import_to_str, theirs))
    with pytest.raises(ValidationError, match="dotted path"):
        adapter.validate_json('[{"name": "os; print()", "alias": "x"}]')


class Thing:
    def method(self) -> None: ...

    def __call__(self) -> None: ...


def enclosing() -> Callable[[], int]:
    secret = 3

    def closure() -> int:
        return secret

    return closure


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 1, "a lambda has no text of its own"),
        (Thing().method, r"Thing\.method is a method"),
        (Thing(), "no function that was written in Python"),
        (functools.partial(plain, 1), "no function that was written in Python"),
        (len, "no function that was written in Python"),
        (enclosing(), "uses secret of the function around it"),
        (eval("exec('def made(): ...') or made"), "source of made is not there"),
    ],
)
def test_what_has_no_text_that_stands_alone_is_refused(
    function: Callable[..., Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        source_of(function)


def test_the_decorator_of_a_wrapped_function_stays_in_its_text() -> None:
    def shouting(function: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> str:
            return function(*args).upper()

        return wrapper

    @shouting
    def say(text: str) -> str:
        return text

    assert source_of(say) == "@shouting\ndef say(text: str) -> str:\n    return text\n"
