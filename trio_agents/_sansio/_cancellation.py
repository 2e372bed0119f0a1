"""`CancellationToken`: a handle on work that somebody may want to cancel.

The token knows nothing of event loops. It keeps callbacks and calls them once. The runtime links
what a message causes to the token it was sent with, and takes the link away when that work has
ended, so one token may accompany any number of messages and keeps none of them.

Work belongs to the thread of its event loop, and a token may be cancelled from any thread. So a
link can carry a `Home`: the thread it must be called in and the way to get a call there.

Left out: a lock for each token. Tokens are made for every handler that asks for one, and the lock
is only held for a few instructions, so all tokens share one. No callback ever runs under it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

__all__ = ["CancellationToken"]

# Reentrant: collecting garbage inside the lock may end a scope, whose link is then taken away
# (test_a_scope_that_ends_inside_the_lock).
_lock = threading.RLock()


class Home(NamedTuple):
    """The thread that an event loop runs in, and how another thread has it call something."""

    thread: int
    call_soon: Callable[[Callable[[], object]], object]


# Each event loop layer adds a function that gives the `Home` of the running loop, if it is its own.
home_finders: list[Callable[[], Home | None]] = []


def current_home() -> Home | None:
    for find in home_finders:
        home = find()
        if home is not None:
            return home
    return None


class _Cancellable(Protocol):
    def cancel(self) -> Any: ...


_CancellableT = TypeVar("_CancellableT", bound=_Cancellable)


class CancellationToken:
    """Cancels whatever was linked to it, once, from any thread.

    Give the same token to `send_message`, `publish_message`, tools or model clients: cancelling it
    cancels the handlers of those messages, and the senders that wait for a reply get
    `MessageCancelled` as soon as the handlers have unwound.
    """

    __slots__ = ("__weakref__", "_cancelled", "_count", "_links")

    def __init__(self) -> None:
        self._cancelled = False
        self._count = 0
        self._links: dict[int, tuple[Callable[[], object], Home | None]] | None = None

    def __repr__(self) -> str:
        return f"<CancellationToken {'cancelled' if self._cancelled else 'not cancelled'}>"

    def cancel(self) -> None:
        """Cancel everything linked so far, in the order of linking. A second call does nothing.

        Callbacks run in this thread, before `cancel` returns; work of an event loop that runs in
        another thread is cancelled there, soon. All callbacks run whatever one of them raises.

        Raises:
            BaseException: what a callback raised; if several did, an exception group of them.
        """
        with _lock:
            if self._cancelled:
                return
            self._cancelled = True
            links, self._links = self._links, None
        if not links:
            return
        failures: list[BaseException] = []
        for callback, home in links.values():
            try:
                _call(callback, home)
            # Not even Ctrl-C may spare the rest; it is raised below.
            except BaseException as exc:  # noqa: ASYNC103
                failures.append(exc)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise BaseExceptionGroup("callbacks of a CancellationToken failed", failures)

    def is_cancelled(self) -> bool:
        """Whether `cancel` has been called."""
        return self._cancelled

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Have *callback* called when the token is cancelled, or now if it already is.

        It runs in the thread that cancels, so it must be quick and must not wait.

        Raises:
            TypeError: *callback* cannot be called.
        """
        if not callable(callback):
            raise TypeError(f"a callback must be callable, not {type(callback).__name__}")
        self.link(callback)

    def link_future(self, future: _CancellableT) -> _CancellableT:
        """Cancel *future* with this token, and return it.

        *future* is anything with a ``cancel()`` method: a trio or anyio cancel scope, an asyncio
        future or task. It is cancelled in the thread of the event loop that runs where
        `link_future` is called, whatever thread cancels the token. The link ends with the future
        (once done) or the scope (once nobody holds it).

        Raises:
            TypeError: *future* has no ``cancel()`` method.
        """
        if not callable(getattr(future, "cancel", None)):
            raise TypeError(
                f"expected a cancel scope or a future, something with cancel(), "
                f"not {type(future).__name__}"
            )
        add_done_callback = getattr(future, "add_done_callback", None)
        if add_done_callback is not None:
            handle = self.link(future.cancel, current_home())

            def forget(_: object) -> None:
                self.unlink(handle)

            add_done_callback(forget)
            return future
        handle = 0
        try:
            scope = weakref.ref(future, lambda _: self.unlink(handle))
        except TypeError:  # it takes no weak references: keep it as long as the token
            self.link(future.cancel, current_home())
            return future

        def cancel_scope() -> None:
            alive = scope()
            if alive is not None:
                alive.cancel()

        handle = self.link(cancel_scope, current_home())
        return future

    # The runtime's own two verbs: a link that can be taken away again.

    def link(self, callback: Callable[[], object], home: Home | None = None) -> int:
        """Call *callback* on `cancel`, in its *home* thread; return a handle for `unlink`."""
        with _lock:
            if not self._cancelled:
                if self._links is None:
                    self._links = {}
                self._count += 1
                self._links[self._count] = (callback, home)
                return self._count
        _call(callback, home)
        return 0

    def unlink(self, handle: int) -> None:
        """Forget a link. A handle that is gone, or 0, is fine."""
        with _lock:
            if self._links is not None:
                self._links.pop(handle, None)


def _call(callback: Callable[[], object], home: Home | None) -> None:
    if home is None or home.thread == threading.get_ident():
        callback()
    else:
        home.call_soon(callback)
