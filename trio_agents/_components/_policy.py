"""Which components may be made from data.

A description of a component comes out of a file, a database or a request. If the class in it were
imported because it is named there, whoever writes the description would choose which code runs:
importing a module *is* running it, so a check afterwards comes too late. Here a name in data is
only ever looked up: among our own components, among those that installed packages announce, and
among what the application has named in a `ComponentPolicy`.

The policy is a context variable, because descriptions contain descriptions: an agent's has that of
its model client. Whatever `load_component` was given holds for all of it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Final, final

import attrs

from .._sansio._errors import ComponentNotAllowed
from .._sansio._facade import claim_names
from ._providers import provider_of

__all__ = [
    "ComponentPolicy",
    "check_code_is_allowed",
    "current_component_policy",
    "use_component_policy",
]


def _names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"namespaces must be several strings, as in [{names!r}], not one")
    checked = tuple(names)
    for name in checked:
        if not isinstance(name, str):
            raise TypeError(f"a namespace is a string, not {type(name).__name__}")
        if not all(part.isascii() and part.isidentifier() for part in name.split(".")):
            raise ValueError(f"a namespace is the dotted path of a package or module, not {name!r}")
    return checked


def _classes(classes: Iterable[type]) -> tuple[type, ...]:
    if isinstance(classes, type):
        raise TypeError(f"classes must be several, as in [{classes.__name__}], not one")
    checked = tuple(classes)
    providers: dict[str, type] = {}
    for cls in checked:
        if not isinstance(cls, type):
            raise TypeError(f"classes must be classes, not {type(cls).__name__}")
        other = providers.setdefault(provider_of(cls), cls)
        if other is not cls:
            raise ValueError(f"two classes have the provider {provider_of(cls)}")
    return checked


@final
@attrs.frozen(kw_only=True)
class ComponentPolicy:
    """What `load_component` may make, besides the library's own and announced components.

    Packages announce theirs as entry points of the group ``trio_agents.components``. The value is
    the class, which is then found by its path and by the name of the entry point.

    ::

        ComponentPolicy(namespaces=["my_app.agents"], classes=[MyTool])

    Attributes:
        classes: Classes that may be loaded by the provider they dump themselves with. They come
            first: one that calls itself like a component of the library's stands in for it.
        namespaces: Packages and modules of the application. A provider in one of them, or below,
            is imported when it is asked for; not so ``__main__`` and its like below.
        code: Whether a configuration may carry what is run as a program: the source text of a
            function, the command line of a server.
    """

    classes: tuple[type, ...] = attrs.field(default=(), converter=_classes)
    namespaces: tuple[str, ...] = attrs.field(default=(), converter=_names)
    # "no" would be true.
    code: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))

    def has_namespace_of(self, module: str) -> bool:
        """Whether *module* is one of the namespaces, or below one."""
        for name in self.namespaces:
            below = module.removeprefix(name)
            # Importing a package's __main__ runs its program.
            if module.startswith(name) and below[:1] in ("", ".") and ".__" not in below:
                return True
        return False


_SAFE: Final = ComponentPolicy()
_current: Final = ContextVar("component_policy", default=_SAFE)


def current_component_policy() -> ComponentPolicy:
    """Return the policy that holds here."""
    return _current.get()


def use_component_policy(policy: ComponentPolicy) -> AbstractContextManager[None]:
    """Let *policy* hold from here on, in this context and the tasks that are started from it.

    Called at the start of a program, it holds for the program. As ``with use_component_policy(p):``
    it holds for the block. It goes along into the worker threads of trio and anyio and those of
    `asyncio.to_thread`, but not into those of ``loop.run_in_executor`` or a bare
    `threading.Thread`, where the safe default holds.

    Raises:
        TypeError: *policy* is none.
    """
    if not isinstance(policy, ComponentPolicy):
        raise TypeError(f"expected a ComponentPolicy, not {type(policy).__name__}")
    token = _current.set(policy)

    @contextmanager
    def until_the_end_of_the_block() -> Generator[None]:
        try:
            yield
        finally:
            _current.reset(token)

    return until_the_end_of_the_block()


def check_code_is_allowed(provider: str, what: str) -> None:
    """To be called by a component before it takes a program out of its configuration.

    Args:
        provider: the component.
        what: the field of its configuration, and what that holds.

    Raises:
        ComponentNotAllowed: the policy that holds here says no.
    """
    if not _current.get().code:
        raise ComponentNotAllowed(
            f"{provider}: its configuration carries {what}, which would be run; if it can be "
            f"trusted, load it with policy=ComponentPolicy(code=True)"
        )


claim_names("trio_agents", globals())
