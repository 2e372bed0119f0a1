"""Functions that travel as their source text, with what they have to import and to be installed.

An executor can offer an agent's code functions of the application: their text goes into a file
beside that code. A `FunctionTool` that is dumped is described by its function's text. Both need the
same three things, which are here: the text of a function, the import statements it needs, and a
stub that shows a model how to call it.

The text is only ever parsed here, never run; whoever runs it decides whether it may be. So the text
of a `FunctionWithRequirementsStr` has no compiled twin, unlike AutoGen's.
"""

from __future__ import annotations

import ast
import inspect
import keyword
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import update_wrapper
from types import FunctionType, MethodType
from typing import Any, Generic, NoReturn, ParamSpec, TypeAlias, TypeVar

__all__ = [
    "Alias",
    "FunctionWithRequirements",
    "FunctionWithRequirementsStr",
    "Import",
    "ImportFromModule",
    "build_python_functions_file",
    "import_to_str",
    "source_of",
    "to_code",
    "to_stub",
    "with_requirements",
]

P = ParamSpec("P")
T = TypeVar("T")
Q = ParamSpec("Q")
U = TypeVar("U")


@dataclass(frozen=True)
class Alias:
    """A name that is imported under another: ``Alias("numpy", "np")``.

    Attributes:
        name: A module, or a name inside of an `ImportFromModule`.
        alias: What it is to be called.

    Raises:
        ValueError: one of them is no name of Python's.
    """

    name: str
    alias: str

    def __post_init__(self) -> None:
        _check_path(self.name)
        _check_name(self.alias)


@dataclass(frozen=True)
class ImportFromModule:
    """Names out of a module: ``ImportFromModule("typing", ("Annotated", "Literal"))``.

    Attributes:
        module: The module's dotted path.
        imports: The names, some as `Alias` if they are to be called otherwise.

    Raises:
        ValueError: there is nothing to import, or something is no name of Python's.
    """

    module: str
    # In words that pydantic can resolve in the public module, which is where it looks.
    imports: tuple[str | Alias, ...] | list[str | Alias]

    def __post_init__(self) -> None:
        _check_path(self.module)
        given: object = self.imports
        if isinstance(given, str):
            raise ValueError(f"imports must be several names, as in ({given!r},), not one")
        if not self.imports:
            raise ValueError(f"no name is imported from {self.module}")
        for name in self.imports:
            if name != "*":
                _check_name(name.name if isinstance(name, Alias) else name)
        object.__setattr__(self, "imports", tuple(self.imports))


#: What is imported: a module by its path, a module under another name, or names out of a module.
Import: TypeAlias = str | ImportFromModule | Alias


def import_to_str(what: Import) -> str:
    """Return the statement that imports *what*.

    Raises:
        ValueError: *what* is a string, and no dotted path of a module.
    """
    match what:
        case ImportFromModule():
            names = ", ".join(
                name if isinstance(name, str) else f"{name.name} as {name.alias}"
                for name in what.imports
            )
            return f"from {what.module} import {names}"
        case Alias():
            return f"import {what.name} as {what.alias}"
        case _:
            return f"import {_check_path(what)}"


def _check_path(path: str) -> str:
    # Imports come out of configurations: nothing but an import may become of them.
    if not isinstance(path, str) or not all(map(_is_name, path.split("."))):
        raise ValueError(f"what is imported must be the dotted path of a module, not {path!r}")
    return path


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not _is_name(name):
        raise ValueError(f"expected a name of Python's, not {name!r}")


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _check_packages(packages: Sequence[str]) -> None:
    if isinstance(packages, str):
        raise ValueError(f"python_packages must be several strings, as in [{packages!r}], not one")
    for package in packages:
        # They become arguments of an installer, of which one with a dash would be an option.
        if not package.strip() or package.lstrip().startswith("-"):
            raise ValueError(f"a package is a requirement such as 'pandas>=2', not {package!r}")


@dataclass
class FunctionWithRequirementsStr:
    """A function as text, with what it needs. It cannot be called here, only be given away.

    Attributes:
        func: Its text: one function, and what else stands beside it in a module.
        python_packages: Packages that have to be installed.
        global_imports: What has to be imported before it.

    Raises:
        ValueError: the text is not Python, or does not define exactly one function.
    """

    func: str
    python_packages: Sequence[str] = ()
    global_imports: Sequence[Import] = ()
    _name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_packages(self.python_packages)
        self._name = _only_function(self.func).name

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to be called.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{self._name} is only text here: it can be called by executors")

    @property
    def __name__(self) -> str:
        return self._name


@dataclass
class FunctionWithRequirements(Generic[T, P]):
    """A function with what it needs where its text is run. Called, it is the function.

    Attributes:
        func: The function.
        python_packages: Packages that have to be installed.
        global_imports: What has to be imported before it.
    """

    func: Callable[P, T]
    python_packages: Sequence[str] = ()
    global_imports: Sequence[Import] = ()

    def __post_init__(self) -> None:
        _check_packages(self.python_packages)
        update_wrapper(self, self.func)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function."""
        return self.func(*args, **kwargs)

    @staticmethod
    def from_callable(
        func: Callable[Q, U],
        python_packages: Sequence[str] = (),
        global_imports: Sequence[Import] = (),
    ) -> FunctionWithRequirements[U, Q]:
        """Return *func* with what it needs."""
        return FunctionWithRequirements(func, python_packages, global_imports)

    @staticmethod
    def from_str(
        func: str, python_packages: Sequence[str] = (), global_imports: Sequence[Import] = ()
    ) -> FunctionWithRequirementsStr:
        """Return a function that is there as text. The text is not run.

        Raises:
            ValueError: it is not Python, or does not define exactly one function.
        """
        return FunctionWithRequirementsStr(func, python_packages, global_imports)


def with_requirements(
    python_packages: Sequence[str] = (), global_imports: Sequence[Import] = ()
) -> Callable[[Callable[P, T]], FunctionWithRequirements[T, P]]:
    """Decorate a function with what it needs where its text is run.

    ::

        @with_requirements(python_packages=["pandas"], global_imports=["pandas"])
        def load_data() -> pandas.DataFrame: ...

    Args:
        python_packages: packages that have to be installed.
        global_imports: what has to be imported before it.
    """

    def decorate(func: Callable[P, T]) -> FunctionWithRequirements[T, P]:
        return FunctionWithRequirements(func, python_packages, global_imports)

    return decorate


#: Whatever has a text that defines one function.
AnyFunction: TypeAlias = (
    FunctionWithRequirements[Any, Any] | FunctionWithRequirementsStr | Callable[..., Any]
)


def source_of(func: Callable[..., Any]) -> str:
    """Return the text that defines *func*, without the decorator `with_requirements`.

    Other decorators stay, and run again where the text is run.

    Raises:
        ValueError: there is no text that would define the same function anywhere else: it is a
            lambda, a method or an object, it uses variables of the function around it, or its
            source is not there.
    """
    if isinstance(func, FunctionWithRequirements):
        return source_of(func.func)
    name = getattr(func, "__qualname__", type(func).__qualname__)
    if isinstance(func, MethodType):
        raise ValueError(f"{name} is a method, and its text lacks the object: write a function")
    # Whoever wraps a function has variables of its own; they come back with the decorator.
    inner = inspect.unwrap(func)
    if not isinstance(inner, FunctionType):
        raise ValueError(f"{name} is no function that was written in Python: write one around it")
    if inner.__name__ == "<lambda>":
        raise ValueError("a lambda has no text of its own: write a function with a name")
    free = inner.__code__.co_freevars
    if free:
        raise ValueError(
            f"{name} uses {', '.join(free)} of the function around it, which its text lacks: "
            f"make that an argument, or define it inside"
        )
    try:
        text = textwrap.dedent(inspect.getsource(inner))
        node = _only_function(text)
    except (OSError, SyntaxError, ValueError):  # typed into an interpreter, made by exec
        raise ValueError(f"the source of {name} is not there: define it in a file") from None
    lines = text.splitlines(keepends=True)
    for decorator in reversed(node.decorator_list):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(called).rpartition(".")[2] == with_requirements.__name__:
            del lines[decorator.lineno - 1 : decorator.end_lineno]
    return "".join(lines)


def to_code(func: AnyFunction) -> str:
    """Return the text of *func*.

    Raises:
        ValueError: it has none (see `source_of`).
    """
    return func.func if isinstance(func, FunctionWithRequirementsStr) else source_of(func)


def to_stub(func: AnyFunction) -> str:
    """Return the first lines of *func*, its docstring and ``...``, for a model to read.

    Raises:
        ValueError: it has no text.
    """
    node = _only_function(to_code(func))
    node.decorator_list = []
    docstring = ast.get_docstring(node)
    node.body = [ast.Expr(ast.Constant(...))]
    if docstring:
        node.body.insert(0, ast.Expr(ast.Constant(docstring)))
    return ast.unparse(ast.fix_missing_locations(node))


def build_python_functions_file(funcs: Sequence[AnyFunction]) -> str:
    """Return the text of a module of these functions: each import once, then the functions.

    Raises:
        ValueError: one of them has no text, or an import is none.
    """
    imports = dict.fromkeys(
        import_to_str(what)
        for func in funcs
        if isinstance(func, FunctionWithRequirements | FunctionWithRequirementsStr)
        for what in func.global_imports
    )
    parts = ["\n".join(imports)] if imports else []
    parts += [to_code(func).strip("\n") for func in funcs]
    return "\n\n\n".join(parts) + "\n"


def _only_function(text: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"this is no Python: {error}") from None
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if len(found) != 1:
        raise ValueError(f"the text must define exactly one function, not {len(found)}")
    return found[0]
