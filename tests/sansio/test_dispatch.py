"""Which handler a message reaches, decided without a runtime, a loop or an agent's constructor."""

from __future__ import annotations

import functools
import gc
import logging
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NewType,
    NoReturn,
    Protocol,
    TypedDict,
    TypeVar,
    runtime_checkable,
)

import pytest

from trio_agents._sansio import _dispatch
from trio_agents._sansio._contexts import MessageContext
from trio_agents._sansio._dispatch import (
    DispatchTable,
    MessageHandler,
    event,
    message_handler,
    rpc,
)
from trio_agents._sansio._identifiers import AgentId, TopicId

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

DIRECT = MessageContext(None, None, True)
PUBLISHED = MessageContext(None, TopicId("news", "eu"), False)

T = TypeVar("T")


class Ping: ...


class LoudPing(Ping): ...


class Pong: ...


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Drive a handler that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


def reached(cls: type[Any], message: object, ctx: MessageContext = DIRECT) -> Any:
    """What the handler for *message* returns; None if there is none."""
    call = DispatchTable(cls).choose(message, ctx)
    return None if call is None else run(call(cls(), message, ctx))


# --- the decorators ----------------------------------------------------------------------------


# RG-04, RG-05, RG-11, RG-12: bare, with empty parentheses and with arguments.
@pytest.mark.parametrize("decorator", [message_handler, event, rpc])
@pytest.mark.parametrize("arguments", [None, {}, {"strict": False}, {"match": lambda m, c: True}])
def test_the_decorators_work_with_and_without_parentheses(
    decorator: Callable[..., Any], arguments: dict[str, Any] | None
) -> None:
    async def handle(self: object, message: Ping, ctx: MessageContext) -> None:
        """What it does."""

    decorated = decorator(handle) if arguments is None else decorator(**arguments)(handle)
    assert decorated is handle
    assert decorated.is_message_handler is True
    assert decorated.target_types == [Ping]
    assert decorated.produces_types == [type(None)]
    assert decorated.__doc__ == "What it does."


# RG-17
def test_a_decorated_method_is_a_message_handler_and_others_are_not() -> None:
    class Agent:
        @message_handler
        async def handle(self, message: Ping, ctx: MessageContext) -> Pong:
            return Pong()

        async def other(self, message: Ping, ctx: MessageContext) -> Pong:
            return Pong()

    assert isinstance(Agent.handle, MessageHandler)
    assert not isinstance(Agent.other, MessageHandler)
    assert Agent.handle.produces_types == [Pong]


# RG-08, RG-10, RG-13
def test_the_router_looks_at_kind_and_match() -> None:
    sender = AgentId("boss", "x")

    class Agent:
        @rpc(match=lambda message, ctx: ctx.sender == sender)
        async def handle(self, message: Ping, ctx: MessageContext) -> None: ...

    router = Agent.handle.router
    assert router(Ping(), MessageContext(sender, None, True)) is True
    assert router(Ping(), DIRECT) is False
    assert router(Ping(), MessageContext(sender, TopicId("t", "s"), False)) is False


# RG-07: a direct call is the plain call; what is checked, dispatch checks.
def test_a_direct_call_is_the_method_itself() -> None:
    class Agent:
        @message_handler
        async def handle(self, message: Ping, ctx: MessageContext) -> Pong:
            return message  # type: ignore[return-value]

    ping = Ping()
    assert run(Agent().handle(ping, DIRECT)) is ping
    assert run(Agent().handle(message=ping, ctx=DIRECT)) is ping


# --- signatures --------------------------------------------------------------------------------


def plain(self: object, message: Ping, ctx: MessageContext) -> None: ...


async def generator(self: object, message: Ping, ctx: MessageContext) -> Any:
    yield 1


async def two(self: object, message: Ping) -> None: ...


async def four(self: object, message: Ping, ctx: MessageContext, extra: int = 0) -> None: ...


async def keyword_only(self: object, message: Ping, ctx: MessageContext, *, x: int) -> None: ...


async def starred(self: object, *args: object) -> None: ...


async def no_message(self: object, message, ctx: MessageContext) -> None: ...  # type: ignore[no-untyped-def]


async def no_return(self: object, message: Ping, ctx: MessageContext): ...  # type: ignore[no-untyped-def]


async def swapped(self: object, ctx: MessageContext, message: Ping) -> None: ...


async def literal(self: object, message: Literal["yes"], ctx: MessageContext) -> None: ...


async def literal_reply(self: object, message: Ping, ctx: MessageContext) -> Literal["yes"]:
    return "yes"


async def never(self: object, message: NoReturn, ctx: MessageContext) -> None: ...


async def syntax(self: object, message: "not a type", ctx: MessageContext) -> None: ...  # type: ignore  # noqa


async def number(self: object, message: 3, ctx: MessageContext) -> None: ...  # type: ignore[valid-type]


class SaysNothing(Protocol):
    def ping(self) -> None: ...


async def protocol(self: object, message: SaysNothing, ctx: MessageContext) -> None: ...


# RG-05: each says what is wrong and how it should look.
@pytest.mark.parametrize(
    ("func", "text"),
    [
        (plain, "handler plain is not a coroutine function.*async def"),
        (generator, "generator is an async generator"),
        (two, "two must take three parameters.*async def"),
        (four, "four must take three parameters"),
        (keyword_only, "keyword_only must take three parameters"),
        (starred, "starred must take three parameters"),
        (no_message, "no_message does not say which messages.*'message'"),
        (no_return, "no_return does not say what it returns.*-> None"),
        (swapped, "the message comes before its context in handler swapped"),
        (literal, "'message' of handler literal is typing.Literal.*match="),
        (literal_reply, "return hint of handler literal_reply is typing.Literal"),
        (never, "names no type that a message can have"),
        (number, "'message' of handler number is 3, which handlers cannot go by"),
        (syntax, "'message' of handler syntax, .*not a type.*, is not a type hint"),
        (protocol, "SaysNothing.*runtime_checkable"),
        (42, "handler 42 is not a function"),
        (functools.partial(two), "is not a function"),
        (staticmethod(two), "must be an ordinary method, not a staticmethod"),
        (classmethod(two), "must be an ordinary method, not a classmethod"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_when_it_is_decorated(func: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        message_handler(func)


# RG-11
@pytest.mark.parametrize("hint", [Ping, Any, object, Ping | None])
def test_an_event_handler_must_return_none(hint: Any) -> None:
    async def handle(self: object, message: Ping, ctx: MessageContext) -> None: ...

    handle.__annotations__["return"] = hint
    with pytest.raises(TypeError, match=r"event handler .*handle must be annotated with `-> None`"):
        event(handle)


# RG-08
def test_a_match_that_could_never_say_no_is_refused() -> None:
    async def match(message: object, ctx: MessageContext) -> bool:
        return False

    with pytest.raises(TypeError, match="match must be a plain function"):
        message_handler(match=match)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="match must be a function"):
        message_handler(match="yes")  # type: ignore[call-overload]


def test_a_classmethod_around_a_handler_is_refused_with_the_class() -> None:
    class Agent:
        @classmethod
        @message_handler
        async def handle(cls, message: Ping, ctx: MessageContext) -> None: ...

    with pytest.raises(TypeError, match="must be an ordinary method, not a classmethod"):
        DispatchTable(Agent)


# RG-05: any names will do.
def test_parameters_may_have_any_names() -> None:
    class Agent:
        @message_handler
        async def handle(this, ping: Ping, _: MessageContext) -> str:
            return "handled"

    assert reached(Agent, Ping()) == "handled"


def test_the_context_parameter_is_not_looked_at() -> None:
    class Agent:
        @message_handler
        async def handle(self, message: Ping, ctx) -> str:  # type: ignore[no-untyped-def]
            return "handled"

    assert reached(Agent, Ping()) == "handled"


def test_a_wrapped_coroutine_function_is_a_handler_and_is_called_through_its_wrapper() -> None:
    calls: list[str] = []

    def logged(func: Any) -> Any:
        @functools.wraps(func)
        def wrapper(*args: Any) -> Any:
            calls.append(func.__name__)
            return func(*args)

        return wrapper

    class Agent:
        @message_handler
        @logged
        async def inside(self, message: Ping, ctx: MessageContext) -> str:
            return "inside"

        @logged
        @message_handler
        async def outside(self, message: Pong, ctx: MessageContext) -> str:
            return "outside"

    assert reached(Agent, Ping()) == "inside"
    assert reached(Agent, Pong()) == "outside"
    assert calls == ["inside", "outside"]


# --- hints -------------------------------------------------------------------------------------


@dataclass
class Box(Generic[T]):
    content: T


class Row(TypedDict):
    name: str


UserId = NewType("UserId", str)
BoundT = TypeVar("BoundT", bound=Ping)
EitherT = TypeVar("EitherT", Ping, Pong)
TextBoundT = TypeVar("TextBoundT", bound="Ping")


@runtime_checkable
class Named(Protocol):
    name: str


@runtime_checkable
class Closing(Protocol):
    def close(self) -> None: ...


# RG-06
@pytest.mark.parametrize(
    ("hint", "targets"),
    [
        (Ping, [Ping]),
        ("Ping", [Ping]),
        (Ping | Pong, [Ping, Pong]),
        ("Ping | Pong | Ping", [Ping, Pong]),
        ("typing.Union[Ping, None]", [Ping, type(None)]),
        (None, [type(None)]),
        (Any, [object]),
        (object, [object]),
        (list[int], [list]),
        (Box[int], [Box]),
        (Box[Any] | list[str], [Box, list]),
        (Sequence[int], [Sequence]),
        (type[Ping], [type]),
        (Annotated[Ping, "loud"], [Ping]),
        (Annotated[Ping, "loud"] | Annotated[Pong, 1], [Ping, Pong]),
        (Row, [dict]),
        (UserId, [str]),
        (T, [object]),
        (BoundT, [Ping]),
        (EitherT, [Ping, Pong]),
        (Box[T], [Box]),
        (Named, [Named]),
    ],
)
def test_a_hint_stands_for_classes(hint: Any, targets: list[type[Any]]) -> None:
    async def handle(self: object, message: Any, ctx: MessageContext) -> None: ...

    import typing  # noqa: F401  # named in one of the hints

    handle.__annotations__["message"] = hint
    assert message_handler(handle).target_types == targets  # type: ignore[attr-defined]


def test_a_type_variable_bound_by_text_is_refused() -> None:
    with pytest.raises(TypeError, match="bound is text"):

        @message_handler
        async def handle(self: object, message: TextBoundT, ctx: MessageContext) -> None: ...


def test_a_hint_may_name_local_classes_and_ones_below_the_agent() -> None:
    class Above: ...

    class Agent:
        class Inside: ...

        @message_handler
        async def above(self, message: Above, ctx: MessageContext) -> str:
            return "above"

        @message_handler
        async def below(self, message: Below, ctx: MessageContext) -> str:
            return "below"

        @message_handler
        async def inside(self, message: Inside, ctx: MessageContext) -> str:
            return "inside"

        @message_handler
        async def own(self, message: type[Agent], ctx: MessageContext) -> Agent:
            return self

    table = DispatchTable(Agent)
    assert not table.try_resolve()

    class Below: ...

    assert table.try_resolve()
    assert reached(Agent, Above()) == "above"
    assert reached(Agent, Below()) == "below"
    assert reached(Agent, Agent.Inside()) == "inside"
    assert isinstance(reached(Agent, Agent), Agent)


Shadowed = Pong


def test_a_local_name_comes_before_a_global_one_and_closures_are_seen() -> None:
    class Shadowed: ...

    def make() -> type[Any]:
        class Agent:
            @message_handler
            async def handle(self, message: Shadowed, ctx: MessageContext) -> str:
                return "local"

        return Agent

    agent = make()
    assert reached(agent, Shadowed()) == "local"
    assert reached(agent, Pong()) is None


def test_names_of_the_caller_are_not_taken_for_names_of_the_function() -> None:
    def caller() -> None:
        class Unseen: ...

        test_names_of_the_caller_are_not_taken_for_names_of_the_function.__dict__["make"]()
        del Unseen

    def make() -> None:
        class Agent:
            @message_handler
            async def handle(self, message: Unseen, ctx: MessageContext) -> None: ...  # type: ignore  # noqa: F821

        assert not DispatchTable(Agent).try_resolve()

    test_names_of_the_caller_are_not_taken_for_names_of_the_function.__dict__["make"] = make
    caller()


def test_an_unreadable_hint_is_named_with_its_handler_and_the_remedy() -> None:
    class Agent:
        @message_handler
        async def handle(self, message: OnlyForCheckers, ctx: MessageContext) -> None: ...

    table = DispatchTable(Agent)
    assert not table.try_resolve()
    for use in (table.resolve, lambda: table.receives, lambda: table.choose(Ping(), DIRECT)):
        with pytest.raises(
            TypeError,
            match=r"'message' of handler \S*Agent\.handle, 'OnlyForCheckers', cannot be read .*"
            "TYPE_CHECKING",
        ):
            use()


def test_a_reply_hint_may_be_unreadable_too() -> None:
    class Agent:
        @message_handler
        async def handle(self, message: Ping, ctx: MessageContext) -> list[OnlyForCheckers]:
            return []

    with pytest.raises(TypeError, match="the return hint of handler"):
        DispatchTable(Agent).resolve()


def test_once_read_hints_hold_no_frames() -> None:
    class Large: ...

    def make() -> tuple[type[Any], weakref.ref[Large]]:
        large = Large()

        class Agent:
            @message_handler
            async def handle(self, message: Ping, ctx: MessageContext) -> None: ...

        return Agent, weakref.ref(large)

    agent, large = make()
    gc.collect()
    assert large() is None
    assert reached(agent, Ping()) is None


# --- the order ---------------------------------------------------------------------------------


# RG-01, RG-14, GAP-17
def test_the_exact_class_comes_before_its_bases() -> None:
    class Agent:
        @message_handler
        async def a(self, message: Ping, ctx: MessageContext) -> str:
            return "base"

        @message_handler
        async def b(self, message: LoudPing, ctx: MessageContext) -> str:
            return "exact"

        @message_handler
        async def c(self, message: Pong, ctx: MessageContext) -> str:
            return "other"

    assert reached(Agent, Ping()) == "base"
    assert reached(Agent, LoudPing()) == "exact"
    assert reached(Agent, Pong()) == "other"
    assert reached(Agent, "text") is None


def test_the_nearest_base_wins_then_abstract_classes_then_any() -> None:
    class Base: ...

    class Middle(Base): ...

    class Leaf(Middle): ...

    class Agent:
        @message_handler
        async def a_any(self, message: Any, ctx: MessageContext) -> str:
            return "any"

        @message_handler
        async def b_mapping(self, message: Mapping[str, int], ctx: MessageContext) -> str:
            return "mapping"

        @message_handler
        async def c_base(self, message: Base, ctx: MessageContext) -> str:
            return "base"

        @message_handler
        async def d_middle(self, message: Middle, ctx: MessageContext) -> str:
            return "middle"

        @message_handler
        async def e_closing(self, message: Closing, ctx: MessageContext) -> str:
            return "closing"

    class ClosingBase(Base):
        def close(self) -> None: ...

    class ClosingOther:
        def close(self) -> None: ...

    assert reached(Agent, Leaf()) == "middle"
    assert reached(Agent, Base()) == "base"
    assert reached(Agent, ClosingBase()) == "base"
    assert reached(Agent, ClosingOther()) == "closing"
    assert reached(Agent, {"a": 1}) == "mapping"
    assert reached(Agent, 3) == "any"
    assert reached(Agent, None) == "any"


def test_the_more_special_abstract_class_comes_first() -> None:
    class Agent:
        @message_handler
        async def a(self, message: Sequence[int], ctx: MessageContext) -> str:
            return "sequence"

        @message_handler
        async def b(self, message: Collection_, ctx: MessageContext) -> str:
            return "collection"

        @message_handler
        async def c(self, message: str | bytes, ctx: MessageContext) -> str:
            return "text"

    assert reached(Agent, [1]) == "sequence"
    assert reached(Agent, {1}) == "collection"
    assert reached(Agent, "x") == "text"


class Collection_(ABC):  # noqa: B024
    """Fits whatever has a length, and has fewer ancestors than any class of `collections.abc`."""

    @classmethod
    def __subclasshook__(cls, other: type[Any]) -> bool:
        return hasattr(other, "__len__")


def test_a_protocol_with_attributes_is_asked_about_each_message() -> None:
    class Thing:
        def __init__(self, **attributes: str) -> None:
            vars(self).update(attributes)

    class Agent:
        @message_handler(match=lambda message, ctx: message.name != "nobody")
        async def named(self, message: Named, ctx: MessageContext) -> str:
            return message.name

        @message_handler
        async def other(self, message: object, ctx: MessageContext) -> str:
            return "other"

    table = DispatchTable(Agent)
    for thing, answer in [
        (Thing(name="a"), "a"),
        (Thing(), "other"),
        (Thing(name="nobody"), "other"),
        (Thing(name="b"), "b"),
    ]:
        call = table.choose(thing, DIRECT)
        assert call is not None
        assert run(call(Agent(), thing, DIRECT)) == answer


def test_none_and_truth_are_messages_too() -> None:
    class Agent:
        @message_handler
        async def nothing(self, message: None, ctx: MessageContext) -> str:
            return "none"

        @message_handler
        async def number(self, message: int, ctx: MessageContext) -> str:
            return "int"

    assert reached(Agent, None) == "none"
    assert reached(Agent, True) == "int"


# RG-08, RG-09
def test_among_handlers_for_one_type_the_alphabet_decides_whose_match_is_asked_first() -> None:
    asked: list[str] = []

    def when(name: str) -> Callable[[Any, MessageContext], bool]:
        def match(message: dict[str, str], ctx: MessageContext) -> bool:
            asked.append(name)
            return message["for"] == name

        return match

    class Agent:
        @message_handler(match=when("c"))
        async def c(self, message: dict[str, str], ctx: MessageContext) -> str:
            return "c"

        @message_handler(match=when("a"))
        async def a(self, message: dict[str, str], ctx: MessageContext) -> str:
            return "a"

        @message_handler(match=when("b"))
        async def b(self, message: dict[str, str], ctx: MessageContext) -> str:
            return "b"

    assert reached(Agent, {"for": "b"}) == "b"
    assert asked == ["a", "b"]
    assert reached(Agent, {"for": "nobody"}) is None


# RG-08
def test_without_match_the_alphabetically_first_handler_wins() -> None:
    class Agent:
        @message_handler
        async def second(self, message: Ping, ctx: MessageContext) -> str:
            return "second"

        @message_handler
        async def first(self, message: Ping, ctx: MessageContext) -> str:
            return "first"

    assert reached(Agent, Ping()) == "first"


def test_when_all_of_the_exact_class_refuse_the_base_class_is_next() -> None:
    class Agent:
        @message_handler
        async def general(self, message: Ping, ctx: MessageContext) -> str:
            return "general"

        @message_handler(match=lambda message, ctx: False)
        async def a(self, message: LoudPing, ctx: MessageContext) -> str:
            return "a"

        @event
        async def b(self, message: LoudPing, ctx: MessageContext) -> None: ...

    assert reached(Agent, LoudPing(), DIRECT) == "general"
    assert reached(Agent, LoudPing(), PUBLISHED) is None  # event b


# RG-11, RG-12, RG-13, CONF-41, GAP-16
def test_events_are_for_publications_and_rpcs_for_direct_messages() -> None:
    seen: list[tuple[str, bool]] = []

    class Agent:
        @event
        async def a_event(self, message: Ping, ctx: MessageContext) -> None:
            seen.append(("event", ctx.is_rpc))

        @rpc
        async def b_rpc(self, message: Ping, ctx: MessageContext) -> Pong | None:
            seen.append(("rpc", ctx.is_rpc))
            return None

    class Only:
        @event
        async def an_event(self, message: Ping, ctx: MessageContext) -> None: ...

        @rpc
        async def an_rpc(self, message: Pong, ctx: MessageContext) -> None: ...

    reached(Agent, Ping(), PUBLISHED)
    reached(Agent, Ping(), DIRECT)
    assert seen == [("event", False), ("rpc", True)]
    assert DispatchTable(Only).choose(Ping(), DIRECT) is None
    assert DispatchTable(Only).choose(Pong(), PUBLISHED) is None


# RG-10
def test_match_may_look_at_the_sender() -> None:
    boss = AgentId("boss", "x")

    class Agent:
        @message_handler(match=lambda message, ctx: ctx.sender == boss)
        async def a(self, message: Ping, ctx: MessageContext) -> str:
            return "the boss"

        @message_handler
        async def b(self, message: Ping, ctx: MessageContext) -> str:
            return "anybody"

    assert reached(Agent, Ping(), MessageContext(boss, None, True)) == "the boss"
    assert reached(Agent, Ping(), DIRECT) == "anybody"


# RG-08
def test_what_match_raises_is_not_swallowed() -> None:
    class Agent:
        @message_handler(match=lambda message, ctx: 1 / 0 > 0)
        async def a(self, message: Ping, ctx: MessageContext) -> None: ...

        @message_handler
        async def b(self, message: Ping, ctx: MessageContext) -> None: ...

    with pytest.raises(ZeroDivisionError):
        DispatchTable(Agent).choose(Ping(), DIRECT)


def test_a_union_of_related_classes_is_asked_once() -> None:
    asked: list[object] = []

    class Agent:
        @message_handler(match=lambda message, ctx: bool(asked.append(message)))
        async def a(self, message: Ping | LoudPing | object, ctx: MessageContext) -> None: ...

    DispatchTable(Agent).choose(LoudPing(), DIRECT)
    assert len(asked) == 1


# --- inheritance -------------------------------------------------------------------------------


class Parent:
    @message_handler
    async def handle_ping(self, message: Ping, ctx: MessageContext) -> str:
        return "parent"

    @message_handler
    async def handle_pong(self, message: Pong, ctx: MessageContext) -> str:
        return "pong"


# RG-15
def test_handlers_are_inherited_and_replaced_by_name() -> None:
    class Child(Parent):
        @message_handler
        async def handle_ping(self, message: Ping, ctx: MessageContext) -> str:
            return "child of " + await super().handle_ping(message, ctx)

    class Grandchild(Child):
        @message_handler
        async def handle_ping(self, message: str, ctx: MessageContext) -> str:  # type: ignore[override]
            return "text"

    assert reached(Child, Ping()) == "child of parent"
    assert reached(Child, Pong()) == "pong"
    assert reached(Grandchild, "x") == "text"
    assert reached(Grandchild, Ping()) is None


# RG-15: overridden without the decorator, it is no handler any more.
def test_a_handler_overridden_without_decorator_handles_nothing() -> None:
    class Child(Parent):
        async def handle_ping(self, message: Ping, ctx: MessageContext) -> str:
            return "child"

    class Without(Parent):
        handle_pong = None  # type: ignore[assignment]

    assert reached(Child, Ping()) is None
    assert reached(Without, Pong()) is None
    assert reached(Without, Ping()) == "parent"


# RG-15
def test_handlers_come_from_mixins_and_abstract_generic_bases() -> None:
    class Mixin:
        @message_handler
        async def mixed(self, message: bytes, ctx: MessageContext) -> str:
            return "mixed"

    class Abstract(ABC, Generic[T]):
        @message_handler
        @abstractmethod
        async def handle(self, message: T, ctx: MessageContext) -> T: ...

    class Concrete(Mixin, Abstract[Ping]):
        @message_handler
        async def handle(self, message: Ping, ctx: MessageContext) -> Ping:
            return message

    ping = Ping()
    assert reached(Concrete, ping) is ping
    assert reached(Concrete, b"") == "mixed"
    assert reached(Concrete, Pong()) is None
    with pytest.raises(TypeError, match="abstract"):
        Abstract()  # type: ignore[abstract]


# --- replies -----------------------------------------------------------------------------------


def replying(hint: Any, reply: object, **options: Any) -> type[Any]:
    class Agent:
        async def handle(self, message: Ping, ctx: MessageContext) -> Any:
            return reply

        handle.__annotations__["return"] = hint
        message_handler(handle, **options)

    return Agent


# RG-06, RG-07, RG-16
@pytest.mark.parametrize(
    ("hint", "reply"),
    [
        (Ping, Ping()),
        (Ping, LoudPing()),
        (Ping | Pong, Pong()),
        (Ping | None, None),
        (None, None),
        (Any, 3),
        (object, 3),
        (list[int], [1]),
        (Sequence[int], (1,)),
        (Annotated[Ping, 1], Ping()),
        (float, 1),
        (complex, 1.5),
        (Row, {"name": "x"}),
        (Closing, type("C", (), {"close": lambda self: None})()),
    ],
)
def test_a_reply_may_be_an_instance_of_what_is_annotated(hint: Any, reply: object) -> None:
    assert reached(replying(hint, reply), Ping()) is reply


# RG-07
@pytest.mark.parametrize(
    ("hint", "reply", "text"),
    [
        (Ping, "secret", r"annotated to return \S*Ping, but returned str.*strict=False"),
        (None, 1, "annotated to return None, but returned int"),
        (Ping | None, 1, "Ping or None, but returned int"),
        (int, 1.5, "annotated to return int, but returned float"),
        (NoReturn, None, "nothing at all, but returned None"),
    ],
)
def test_another_reply_is_an_error_that_names_handler_and_types(
    hint: Any, reply: object, text: str
) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        reached(replying(hint, reply), Ping())
    assert "handler replying.Agent.handle" in str(caught.value)
    assert "secret" not in str(caught.value)


# RG-07
def test_without_strict_another_reply_is_logged_and_sent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "autogen_core.trace"):
        assert reached(replying(Ping, "secret", strict=False), Ping()) == "secret"
    (record,) = caplog.records
    assert record.name == "autogen_core.trace"
    assert "Ping" in record.getMessage()
    assert "returned str" in record.getMessage()
    assert "secret" not in record.getMessage()


# RG-16
def test_what_a_publication_s_handler_returns_is_not_looked_at() -> None:
    assert reached(replying(Ping, "anything"), Ping(), PUBLISHED) == "anything"


def test_without_a_reply_to_check_nothing_stands_between_runtime_and_handler() -> None:
    cls = replying(Any, 1)
    table = DispatchTable(cls)
    assert table.choose(Ping(), DIRECT) is cls.handle
    assert table.choose(Ping(), PUBLISHED) is cls.handle
    cls = replying(Ping, 1)
    assert DispatchTable(cls).choose(Ping(), PUBLISHED) is cls.handle


# --- remembering -------------------------------------------------------------------------------


def test_the_search_is_made_once_for_each_class_of_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = DispatchTable(Parent)
    first = table.choose(Ping(), DIRECT)

    def again(*args: object, **kwargs: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr(DispatchTable, "_find", again)
    assert table.choose(Ping(), DIRECT) is first
    with pytest.raises(AssertionError, match="searched again"):
        table.choose(Ping(), PUBLISHED)


def test_classes_made_as_the_program_goes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatch, "MAX_REMEMBERED", 3)
    table = DispatchTable(Parent)
    classes: list[weakref.ref[type[Any]]] = []
    for _ in range(10):
        cls = type("Made", (Ping,), {})
        classes.append(weakref.ref(cls))
        assert table.choose(cls(), DIRECT) is not None
        del cls
    gc.collect()
    assert sum(ref() is not None for ref in classes) <= 3


# RG-18
def test_the_table_knows_the_types_as_they_are_written() -> None:
    class Agent:
        @message_handler
        async def a(self, message: Box[int] | Ping, ctx: MessageContext) -> None: ...

        @message_handler
        async def b(self, message: Any, ctx: MessageContext) -> None: ...

        @message_handler
        async def c(self, message: Ping, ctx: MessageContext) -> None: ...

    assert DispatchTable(Agent).receives == ((Box[int], Box), (Ping, Ping), (object, object))
