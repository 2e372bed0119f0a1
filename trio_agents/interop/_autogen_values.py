"""AutoGen's values and ours: each turned into the other, and mixtures refused.

Ids are compared and hashed on every message, so pairs of ids are remembered. A topic and a token
carry AutoGen's object along, because handlers are to see the very one that the sender gave.

AutoGen allows any text as a key or source, and our core the characters from space to ``~``. What
else there is goes through the core percent-encoded, and "%" itself too, so that no two keys meet.
It shows in our logs and statistics only.
"""

from __future__ import annotations

import weakref
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, unquote

import autogen_core as autogen

from .._sansio._cancellation import CancellationToken
from .._sansio._identifiers import AgentId, TopicId

__all__ = [
    "Identities",
    "LinkedToken",
    "Topic",
    "autogens_topic",
    "class_name",
    "decode",
    "encode",
    "expect",
    "token_of",
]

T = TypeVar("T")

MAX_REMEMBERED: Final = 4096
_PLAIN: Final = "".join(chr(code) for code in range(32, 127) if chr(code) != "%")


def class_name(cls: type[Any]) -> str:
    """Name a class so that one library's can be told from the other's."""
    module = cls.__module__.split(".")
    # AutoGen's classes live in private modules; people know them by the package.
    public = [part for part in module if not part.startswith("_")]
    return ".".join([*public, cls.__qualname__])


def expect(value: object, cls: type[T], what: str) -> T:
    """Give *value* if it is of AutoGen's *cls*.

    Raises:
        TypeError: it is something else, our own class of that name perhaps.
    """
    if isinstance(value, cls):
        return value
    given = type(value)
    text = f"{what} must be an {class_name(cls)}, not {class_name(given)}"
    if given.__module__.partition(".")[0] == "trio_agents":
        text += f": {MIXED}"
    raise TypeError(text)


MIXED: Final = (
    "an AutoGenRuntime takes AutoGen's own types, so import it from autogen_core; what is written "
    "for trio_agents runs in a runtime of trio_agents.asyncio"
)


def encode(text: str) -> str:
    """Give a key or source as our core takes it."""
    # What is no str at all is for the core to refuse.
    if not isinstance(text, str) or (text.isascii() and text.isprintable() and "%" not in text):
        return text
    return quote(text, safe=_PLAIN, errors="surrogatepass")


def decode(text: str) -> str:
    """Give back what `encode` was given."""
    return unquote(text, errors="surrogatepass") if "%" in text else text


class Identities:
    """The agent ids that one runtime has seen, in both libraries' classes."""

    def __init__(self) -> None:
        self._ours: dict[autogen.AgentId, AgentId] = {}
        self._autogens: dict[AgentId, autogen.AgentId] = {}

    def ours(self, id: autogen.AgentId, what: str) -> AgentId:
        """Give our id for AutoGen's.

        Raises:
            TypeError: it is no id of AutoGen's; *what* says what it was to be.
            InvalidIdentifier: it is longer than our core allows.
        """
        try:
            return self._ours[id]
        except (KeyError, TypeError):  # not seen yet, or nothing that could be a key
            expect(id, autogen.AgentId, what)
        known = AgentId(id.type, encode(id.key))
        self._remember(id, known)
        return known

    def autogens(self, id: AgentId) -> autogen.AgentId:
        """Give AutoGen's id for ours."""
        known = self._autogens.get(id)
        if known is None:
            known = autogen.AgentId(id.type, decode(id.key))
            self._remember(known, id)
        return known

    def _remember(self, autogens: autogen.AgentId, ours: AgentId) -> None:
        if len(self._ours) >= MAX_REMEMBERED:
            self._ours.clear()
            self._autogens.clear()
        self._ours[autogens] = ours
        self._autogens[ours] = autogens


class Topic(TopicId):
    """Our topic id for one of AutoGen's, which it keeps."""

    __slots__ = ("original",)

    original: autogen.TopicId

    def __init__(self, original: autogen.TopicId) -> None:
        super().__init__(original.type, encode(original.source))
        _set_original(self, original)


_set_original = Topic.__dict__["original"].__set__


def autogens_topic(topic: TopicId) -> autogen.TopicId:
    """Give AutoGen's topic id for ours, which came in through an `AutoGenRuntime`."""
    return cast("Topic", topic).original


class LinkedToken(CancellationToken):
    """Our token for one of AutoGen's: cancelled with it."""

    __slots__ = ("original",)

    def __init__(self, original: autogen.CancellationToken) -> None:
        super().__init__()
        self.original = original


class _Pass:
    """What AutoGen's token keeps of us: one of these, however many messages it accompanies.

    AutoGen's token can take a callback and never gives one back. So there is one for each token,
    which refers to our token weakly: our token takes links away when messages end, and lives as
    long as one of them.
    """

    __slots__ = ("_linked",)

    def __init__(self) -> None:
        self._linked: weakref.ref[LinkedToken] | None = None

    def linked(self, original: autogen.CancellationToken) -> LinkedToken:
        """Give our token for *original*, which messages on their way share."""
        linked = None if self._linked is None else self._linked()
        if linked is None:
            linked = LinkedToken(original)
            self._linked = weakref.ref(linked)
        return linked

    def __call__(self) -> None:
        linked = None if self._linked is None else self._linked()
        if linked is not None:
            linked.cancel()


# Invariant: a token here has the value among its callbacks. The values do not refer to the tokens.
_passes: weakref.WeakKeyDictionary[autogen.CancellationToken, _Pass] = weakref.WeakKeyDictionary()


def token_of(original: autogen.CancellationToken) -> LinkedToken:
    """Give our token for AutoGen's *original*: the same one for all messages on their way with it.

    Raises:
        TypeError: it is no token of AutoGen's.
    """
    expect(original, autogen.CancellationToken, "cancellation_token")
    known = _passes.get(original)
    if known is None:
        known = _passes[original] = _Pass()
        linked = known.linked(original)
        original.add_callback(known)
    else:
        linked = known.linked(original)
    # If it was cancelled before ours was made, or, by another thread, meanwhile.
    if original.is_cancelled():
        linked.cancel()
    return linked
