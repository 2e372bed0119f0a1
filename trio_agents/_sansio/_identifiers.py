"""Who a message is for: agent ids, agent types and topics.

All of them are values: compared and hashed by what they say, never changed, and impossible to build
wrong, so that nobody downstream checks again. The rules are those of AutoGen Core's reference
(topic types after CloudEvents) in the readings that its own samples allow: a key may be anything a
topic source may be, because subscriptions turn sources into keys.

An id is a dictionary key on every message, so it carries its text form and hashes that: a string
remembers its hash, a pair of strings would be hashed again each time.
"""

from __future__ import annotations

import re
from typing import Final, TypedDict, final

from ._errors import InvalidIdentifier
from ._foreign import type_name

__all__ = ["AgentId", "AgentMetadata", "AgentType", "TopicId"]

AGENT_TYPE: Final = re.compile(r"[\w\-.]+")
TOPIC_TYPE: Final = re.compile(r"[\w\-.:=]+")
MAX_TYPE_LENGTH: Final = 256
MAX_KEY_LENGTH: Final = 4096  # a file path fits; a message body does not

# Types come from program text and are few, keys come from data and are many: a type is matched
# once.
_known_types: dict[re.Pattern[str], set[str]] = {AGENT_TYPE: set(), TOPIC_TYPE: set()}
_MAX_KNOWN_TYPES: Final = 4096


def _excerpt(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:60]!r}... ({len(text)} characters)"


def _plain(text: object, what: str) -> str:
    if type(text) is str:
        return text
    if not isinstance(text, str):
        raise InvalidIdentifier(f"{what} must be a str, not {type_name(text)}")
    # A member of an enum of strings stands for its value, but formats as its name.
    return str.__str__(text)


def _check_type(text: object, pattern: re.Pattern[str], what: str) -> str:
    text = _plain(text, what)
    known = _known_types[pattern]
    if text in known:
        return text
    if len(text) > MAX_TYPE_LENGTH:
        raise InvalidIdentifier(
            f"{what} {_excerpt(text)} is too long: at most {MAX_TYPE_LENGTH} characters"
        )
    if not pattern.fullmatch(text):
        raise InvalidIdentifier(f"{what} {_excerpt(text)} does not match {pattern.pattern}")
    if len(known) < _MAX_KNOWN_TYPES:
        known.add(text)
    return text


def _check_key(text: object, what: str) -> str:
    text = _plain(text, what)
    # Among ASCII characters the printable ones are exactly 32 (space) to 126 (~).
    if not (text.isascii() and text.isprintable()):
        raise InvalidIdentifier(
            f"{what} {_excerpt(text)} may hold the characters from space (32) to '~' (126) only: "
            "encode other text first, for example with urllib.parse.quote"
        )
    if len(text) > MAX_KEY_LENGTH:
        raise InvalidIdentifier(
            f"{what} {_excerpt(text)} is too long: at most {MAX_KEY_LENGTH} characters"
        )
    return text


def _frozen(self: object, name: str, value: object = None) -> None:
    raise AttributeError(f"{type(self).__name__} is a value, {name!r} cannot be changed")


@final
class AgentType:
    """The name under which a factory or instances are registered; what registration returns."""

    __slots__ = ("type",)
    __match_args__ = ("type",)

    type: str

    def __init__(self, type: str) -> None:
        _set_agent_type(self, _check_type(type, AGENT_TYPE, "agent type"))

    __setattr__ = _frozen
    __delattr__ = _frozen

    def __eq__(self, other: object) -> bool:
        return self.type == other.type if isinstance(other, AgentType) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.type)

    def __repr__(self) -> str:
        return f"AgentType(type={self.type!r})"

    def __str__(self) -> str:
        return self.type

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return AgentType, (self.type,)


_set_agent_type = AgentType.__dict__["type"].__set__


@final
class AgentId:
    """The address of one agent: its agent *type* and its *key* within that type.

    >>> AgentId("writer", "session-7")
    AgentId(type='writer', key='session-7')
    >>> AgentId.from_str("writer/session-7") == AgentId("writer", "session-7")
    True

    A type is made of word characters, ``-`` and ``.``, up to 256 of them; a key of the characters
    from space to ``~``, up to 4096 of them, slashes included.

    Raises:
        InvalidIdentifier: type or key break these rules. It is a `ValueError`.
    """

    __slots__ = ("__weakref__", "_text", "key", "type")
    __match_args__ = ("type", "key")

    type: str
    key: str
    _text: str

    def __init__(self, type: str | AgentType, key: str) -> None:
        if isinstance(type, AgentType):
            type = type.type
        else:
            type = _check_type(type, AGENT_TYPE, "agent type")
        _set_type(self, type)
        key = _check_key(key, "agent key")
        _set_key(self, key)
        _set_text(self, f"{type}/{key}")

    __setattr__ = _frozen
    __delattr__ = _frozen

    @classmethod
    def from_str(cls, agent_id: str) -> AgentId:
        """Read the ``type/key`` form back. The first slash divides; later ones belong to the key.

        Raises:
            InvalidIdentifier: there is no slash, or one of the parts is not valid.
        """
        return cls(*_split(agent_id, "agent id", "type/key"))

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, AgentId) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"AgentId(type={self.type!r}, key={self.key!r})"

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return AgentId, (self.type, self.key)


_set_type = AgentId.__dict__["type"].__set__
_set_key = AgentId.__dict__["key"].__set__
_set_text = AgentId.__dict__["_text"].__set__


class TopicId:
    """Where a publication goes: the *type* of the topic and the *source* it concerns.

    Both parts follow the CloudEvents attributes of the same names. A type is made of word
    characters and ``- . : =``, up to 256 of them; a source of the characters from space to ``~``,
    up to 4096.

    Raises:
        InvalidIdentifier: type or source break these rules. It is a `ValueError`.
    """

    __slots__ = ("__weakref__", "_text", "source", "type")
    __match_args__ = ("type", "source")

    type: str
    source: str
    _text: str

    def __init__(self, type: str, source: str) -> None:
        type = _check_type(type, TOPIC_TYPE, "topic type")
        _set_topic_type(self, type)
        source = _check_key(source, "topic source")
        _set_topic_source(self, source)
        _set_topic_text(self, f"{type}/{source}")

    __setattr__ = _frozen
    __delattr__ = _frozen

    @classmethod
    def from_str(cls, topic_id: str) -> TopicId:
        """Read the ``type/source`` form back. The first slash divides.

        Raises:
            InvalidIdentifier: there is no slash, or one of the parts is not valid.
        """
        return TopicId(*_split(topic_id, "topic id", "type/source"))

    # A `DefaultTopicId` equals the `TopicId` that says the same: it is the same topic.
    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, TopicId) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(type={self.type!r}, source={self.source!r})"

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return TopicId, (self.type, self.source)


_set_topic_type = TopicId.__dict__["type"].__set__
_set_topic_source = TopicId.__dict__["source"].__set__
_set_topic_text = TopicId.__dict__["_text"].__set__


class AgentMetadata(TypedDict):
    """What one agent says of itself: its address and a description for people and models."""

    type: str
    key: str
    description: str


def _split(text: object, what: str, form: str) -> tuple[str, str]:
    if not isinstance(text, str):
        raise InvalidIdentifier(f"{what} must be a str like {form!r}, not {type(text).__name__}")
    first, slash, rest = text.partition("/")
    if not slash:
        raise InvalidIdentifier(f"{what} {_excerpt(text)} has no '/': expected {form!r}")
    return first, rest
