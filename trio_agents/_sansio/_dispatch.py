"""Dispatch: which handler of an agent a message reaches.

Three decorators mark an agent's methods as handlers. They give back the very function they were
given, with a few attributes on it: a direct call in a test is the plain call that it looks like, a
subclass may use ``super()``, and between the runtime and the handler there is nothing to unwind.

A handler's message type is the annotation of its second parameter, whatever the parameters are
called. Hints are read when the handler is decorated; those that mention names which do not exist
yet are read when the class is complete, and the last ones at its first use. A hint written as text
is looked up where it was written, local classes included.

`DispatchTable` answers "who handles this?" for one class of agents: the handlers for the message's
own class come first, then those for its base classes, nearest first, then those for abstract base
classes and protocols it fits, and last those for ``Any`` and ``object``. Among the handlers for one
type the alphabet decides, and the first whose ``match`` agrees gets the message.

Left out: checking a message's type once more inside the handler. Dispatch never hands a handler
another type, and in a direct call the type checker sees it.
"""

from __future__ import annotations

import inspect
import logging
import sys
import typing
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from enum import Enum, auto
from types import CodeType, FrameType, FunctionType, NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Never,
    NewType,
    NoReturn,
    Protocol,
    TypeVar,
    Union,
    overload,
    runtime_checkable,
)

from ._contexts import MessageContext
from ._log_names import TRACE_LOGGER_NAME

__all__ = ["DispatchTable", "MessageHandler", "event", "message_handler", "rpc"]

trace_logger: Final = logging.getLogger(TRACE_LOGGER_NAME)

AgentT_contra = TypeVar("AgentT_contra", contravariant=True)
ReceivesT_contra = TypeVar("ReceivesT_contra", contravariant=True)
ProducesT_co = TypeVar("ProducesT_co", covariant=True)

Match = Callable[[Any, MessageContext], bool]
Call = Callable[[Any, Any, MessageContext], Coroutine[Any, Any, Any]]

# The decorators are typed by what they must be given, and give back just that: names of parameters,
# docstrings and the rules of overriding stay with the method.
HandlerT = TypeVar("HandlerT", bound=Call)
EventHandlerT = TypeVar(
    "EventHandlerT", bound=Callable[[Any, Any, MessageContext], Coroutine[Any, Any, None]]
)


@runtime_checkable
class MessageHandler(Protocol[AgentT_contra, ReceivesT_contra, ProducesT_co]):
    """What a decorated method is, beside a method: ``isinstance(Worker.handle, MessageHandler)``.

    A hint that names something not yet defined leaves `target_types` and `produces_types` unset
    until the hint has been read, at the latest when the class is registered.
    """

    @property
    def is_message_handler(self) -> Literal[True]:
        """True: this is how a decorated method is told from others."""
        ...

    @property
    def target_types(self) -> list[type[Any]]:
        """The classes of messages it handles; `object` where the hint says ``Any``."""
        ...

    @property
    def produces_types(self) -> list[type[Any]]:
        """The classes of replies it may return; `object` where the hint says ``Any``."""
        ...

    @property
    def router(self) -> Callable[[ReceivesT_contra, MessageContext], bool]:
        """Whether it wants a message of its types: its kind fits, and its ``match`` agrees."""
        ...

    def __call__(
        self, agent: AgentT_contra, message: ReceivesT_contra, ctx: MessageContext, /
    ) -> Coroutine[Any, Any, ProducesT_co]:
        """Handle *message*."""
        ...


class Kind(Enum):
    """Which messages a handler is for."""

    BOTH = auto()
    EVENT = auto()
    RPC = auto()


@overload
def message_handler(
    func: HandlerT, *, strict: bool = ..., match: Match | None = ...
) -> HandlerT: ...


@overload
def message_handler(
    func: None = None, *, strict: bool = ..., match: Match | None = ...
) -> Callable[[HandlerT], HandlerT]: ...


def message_handler(
    func: HandlerT | None = None, *, strict: bool = True, match: Match | None = None
) -> HandlerT | Callable[[HandlerT], HandlerT]:
    """Make a method handle messages of a type, published ones as well as direct ones.

    ::

        class Worker(RoutedAgent):
            @message_handler
            async def handle(self, message: Task, ctx: MessageContext) -> Result:
                return Result(...)

    The message type is the annotation of the first parameter after ``self``: a class, a union of
    classes, ``None`` or ``Any``. Subclasses of it are handled too, unless another handler is nearer
    to them. What the method returns is the reply to a direct message; a publication has no reply.

    A subclass inherits handlers. To replace one, override it and decorate it again; overridden
    without the decorator, it is an ordinary method and handles nothing any more.

    Args:
        func: The method, when the decorator is used without parentheses.
        strict: Whether a reply that the annotation does not allow is a `ValueError` for the sender;
            if not, it is logged on `TRACE_LOGGER_NAME` and sent. For direct messages only.
        match: Chooses between handlers for one type: they are asked in the alphabetical order of
            their names, and the first that says yes handles the message. None says always yes.
            What *match* raises is the failure of the message.

    Raises:
        TypeError: the method cannot be a handler; the text says what to change. Raised here, when
            the class is created, or, for a hint that cannot be read until then, when it is used.
    """
    return _decorator(func, Kind.BOTH, strict, match)


@overload
def event(
    func: EventHandlerT, *, strict: bool = ..., match: Match | None = ...
) -> EventHandlerT: ...


@overload
def event(
    func: None = None, *, strict: bool = ..., match: Match | None = ...
) -> Callable[[EventHandlerT], EventHandlerT]: ...


def event(
    func: EventHandlerT | None = None, *, strict: bool = True, match: Match | None = None
) -> EventHandlerT | Callable[[EventHandlerT], EventHandlerT]:
    """Make a method handle publications of a type. It must be annotated to return None.

    In all else it is `message_handler`. A direct message passes it by.

    Args:
        func: The method, when the decorator is used without parentheses.
        strict: Changes nothing: an event handler gets only messages of its type, and what it
            returns is thrown away. It is there because the three decorators are called alike.
        match: As in `message_handler`.

    Raises:
        TypeError: the method cannot be an event handler.
    """
    return _decorator(func, Kind.EVENT, strict, match)


@overload
def rpc(func: HandlerT, *, strict: bool = ..., match: Match | None = ...) -> HandlerT: ...


@overload
def rpc(
    func: None = None, *, strict: bool = ..., match: Match | None = ...
) -> Callable[[HandlerT], HandlerT]: ...


def rpc(
    func: HandlerT | None = None, *, strict: bool = True, match: Match | None = None
) -> HandlerT | Callable[[HandlerT], HandlerT]:
    """Make a method handle direct messages of a type, whose sender waits for the reply.

    In all else it is `message_handler`. A publication passes it by.

    Args:
        func: The method, when the decorator is used without parentheses.
        strict: As in `message_handler`.
        match: As in `message_handler`.

    Raises:
        TypeError: the method cannot be a handler.
    """
    return _decorator(func, Kind.RPC, strict, match)


_AnyHandlerT = TypeVar("_AnyHandlerT", bound=Call)


def _decorator(
    func: _AnyHandlerT | None, kind: Kind, strict: bool, match: Match | None
) -> _AnyHandlerT | Callable[[_AnyHandlerT], _AnyHandlerT]:
    if match is not None:
        if not callable(match):
            raise TypeError(
                f"match must be a function of (message, ctx), not {type(match).__name__}"
            )
        if inspect.iscoroutinefunction(match):
            raise TypeError(f"match must be a plain function, but {_place(match)} is async")

    def decorate(func: _AnyHandlerT) -> _AnyHandlerT:
        handler = Handler(func, kind, strict, match)
        func.__dict__[_HANDLER] = handler
        handler.try_resolve({})
        handler.describe(func)
        return func

    return decorate if func is None else decorate(func)


# --- What a handler says of itself -------------------------------------------------------------

_HANDLER: Final = "_trio_agents_handler"  # in the __dict__ of a decorated function

_EXPECTED: Final = "write it as `async def name(self, message: SomeType, ctx: MessageContext) -> R`"


class Handler:
    """One decorated function: its kind, and its types once they are known."""

    def __init__(self, func: object, kind: Kind, strict: bool, match: Match | None) -> None:
        self.name = _place(func)
        self.kind = kind
        self.strict = strict
        self.match = match
        # Invariant: all are set, or none.
        self.receives: tuple[MessageType, ...] | None = None
        self.targets: tuple[type[Any], ...] | None = None
        self.produces: tuple[type[Any], ...] | None = None
        code, self._hints = self._read(func)
        self._message_name = code.co_varnames[1]
        self._scopes = Scopes(func)

    def _read(self, func: Any) -> tuple[CodeType, Hints]:
        _check_ordinary(func, self.name)
        inner = inspect.unwrap(func) if callable(func) else func
        if not (isinstance(func, FunctionType) and isinstance(inner, FunctionType)):
            raise TypeError(f"handler {self.name} is not a function: {_EXPECTED}")
        if inspect.isasyncgenfunction(inner):
            raise TypeError(
                f"handler {self.name} is an async generator: it must return its reply, not yield "
                "it; publish what comes piece by piece"
            )
        if not (inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(inner)):
            raise TypeError(f"handler {self.name} is not a coroutine function: {_EXPECTED}")
        code = inner.__code__
        if (
            code.co_argcount != 3
            or code.co_kwonlyargcount
            or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
        ):
            raise TypeError(
                f"handler {self.name} must take three parameters, self, the message and its "
                f"context: {_EXPECTED}"
            )
        annotations = annotations_of(inner)
        message_name = code.co_varnames[1]
        if message_name not in annotations:
            raise TypeError(
                f"handler {self.name} does not say which messages it handles: annotate its "
                f"parameter {message_name!r} with a class, a union of classes or Any"
            )
        if "return" not in annotations:
            raise TypeError(
                f"handler {self.name} does not say what it returns: annotate it with `-> None` or "
                "the class of its replies"
            )
        return code, Hints(annotations[message_name], annotations["return"])

    def try_resolve(self, namespace: Mapping[str, Any]) -> bool:
        """Read the hints; False if they mention names that do not exist yet.

        Raises:
            TypeError: a hint can be read, and is not one that handlers can have.
        """
        try:
            self.resolve(namespace)
        except UnresolvedHint:
            return False
        return True

    def resolve(self, namespace: Mapping[str, Any]) -> None:
        """Read the hints, looking names up in *namespace* too. Once done, does nothing.

        Raises:
            TypeError: a hint cannot be read, or is not one that handlers can have.
        """
        if self.targets is not None:
            return
        what = f"handler {self.name}"
        message_what = f"the hint of parameter {self._message_name!r} of {what}"
        message = self._scopes.evaluate(self._hints.message, message_what, namespace)
        reply_what = f"the return hint of {what}"
        reply = self._scopes.evaluate(self._hints.reply, reply_what, namespace)
        if message is MessageContext:
            raise TypeError(f"the message comes before its context in {what}: {_EXPECTED}")
        receives = types_in(message, message_what)
        if not receives:
            raise TypeError(f"{message_what} names no type that a message can have")
        produces = _classes(types_in(reply, reply_what))
        if self.kind is Kind.EVENT and set(produces) - {NoneType}:
            raise TypeError(
                f"event {what} must be annotated with `-> None`: a publication has no reply. "
                "For handlers that answer there are @rpc and @message_handler"
            )
        self.receives, self.targets, self.produces = receives, _classes(receives), produces
        self._scopes.forget()

    def describe(self, func: object) -> None:
        """Put the public attributes of a decorated method on *func*."""
        attributes = vars(func)
        attributes["is_message_handler"] = True
        attributes["router"] = self.wants
        if self.targets is not None and self.produces is not None:
            attributes["target_types"] = list(self.targets)
            attributes["produces_types"] = list(self.produces)

    def wants(self, message: Any, ctx: MessageContext) -> bool:
        """Whether the kind fits and ``match`` agrees. The type is not looked at."""
        if self.kind is (Kind.EVENT if ctx.is_rpc else Kind.RPC):
            return False
        return self.match is None or bool(self.match(message, ctx))

    def answering(self, func: Call) -> Call:
        """Give what handles a direct message: *func*, and a look at what it returns."""
        assert self.produces is not None
        allowed = _replies(self.produces)
        if object in allowed:
            return func
        exact = frozenset(allowed)

        async def answer(agent: Any, message: Any, ctx: MessageContext) -> Any:
            reply = await func(agent, message, ctx)
            if type(reply) not in exact and not isinstance(reply, allowed):
                self._unexpected(reply, allowed)
            return reply

        return answer

    def _unexpected(self, reply: object, allowed: tuple[type[Any], ...]) -> None:
        # Never the reply itself: it may be large, or secret.
        expected = " or ".join(_class_name(cls) for cls in allowed) or "nothing at all"
        came = _class_name(type(reply))
        if self.strict:
            raise ValueError(
                f"handler {self.name} is annotated to return {expected}, but returned {came}: "
                "correct the annotation, or decorate it with strict=False to send it all the same"
            )
        trace_logger.warning(
            "handler %s is annotated to return %s, but returned %s", self.name, expected, came
        )


def _classes(types: Iterable[MessageType]) -> tuple[type[Any], ...]:
    return tuple(dict.fromkeys(cls for _, cls in types))


# Static checkers let an int stand for a float, so we do.
_PROMOTIONS: Final[dict[type[Any], tuple[type[Any], ...]]] = {
    float: (float, int),
    complex: (complex, float, int),
}


def _check_ordinary(attribute: Any, name: str) -> None:
    if isinstance(attribute, classmethod | staticmethod):
        kind = "classmethod" if isinstance(attribute, classmethod) else "staticmethod"
        raise TypeError(f"handler {name} must be an ordinary method, not a {kind}: {_EXPECTED}")


def _replies(produces: tuple[type[Any], ...]) -> tuple[type[Any], ...]:
    return tuple(dict.fromkeys(c for cls in produces for c in _PROMOTIONS.get(cls, (cls,))))


# --- Hints -------------------------------------------------------------------------------------


class Hints(NamedTuple):
    """The two annotations that matter, as they were written."""

    message: object
    reply: object


class UnresolvedHint(TypeError):
    """A hint mentions a name that does not exist, or does not exist yet."""


class Scopes:
    """Where the text of a function's hints is looked up: what the compiler would have seen there.

    The functions around a local class are still running when it is made. Their frames are kept
    until the hints are read, since names may be defined below the class.
    """

    def __init__(self, func: object) -> None:
        inner = inspect.unwrap(func) if callable(func) else func
        # A bound method or any other callable: what it is made of knows where it was written.
        inner = getattr(inner, "__func__", inner)
        self._globals: dict[str, Any] = getattr(inner, "__globals__", {})
        self._type_parameters: tuple[Any, ...] = getattr(inner, "__type_params__", ())
        qualname: str = getattr(inner, "__qualname__", "")
        parts = qualname.split(".<locals>")
        functions = {".<locals>".join(parts[:count]) for count in range(1, len(parts))}
        body = qualname.rpartition(".")[0] if "." in parts[-1].lstrip(".") else None
        # Outermost first, so that inner names win. For the usual class of a module, one step.
        self._frames: list[FrameType] = []
        self._body: dict[str, Any] = {}
        wanted = functions if body is None else functions | {body}
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and wanted:
            place = frame.f_code.co_qualname
            if place in wanted and frame.f_globals is self._globals:
                wanted = wanted - {place}
                if place == body:
                    self._body = dict(frame.f_locals)
                else:
                    self._frames.insert(0, frame)
            frame = frame.f_back

    def forget(self) -> None:
        """Let go of the frames and what they hold."""
        self._frames.clear()
        self._body = {}

    def evaluate(self, hint: object, what: str, namespace: Mapping[str, Any]) -> Any:
        """Give what *hint* stands for; ``Annotated`` is taken off.

        Raises:
            UnresolvedHint: a name in it cannot be found, at least not yet.
            TypeError: it is not a type hint at all.
        """
        names: dict[str, Any] = {}
        for frame in self._frames:
            names.update(frame.f_locals)
        names.update(self._body)
        names.update(namespace)
        names.update((parameter.__name__, parameter) for parameter in self._type_parameters)
        holder = SimpleNamespace(__annotations__={"hint": hint})
        try:
            return typing.get_type_hints(holder, self._globals, names)["hint"]
        except (NameError, AttributeError) as exc:
            raise UnresolvedHint(
                f"{what}, {_hint_text(hint)}, cannot be read ({exc}): import or define the name "
                "where it can be seen at run time (not under `if TYPE_CHECKING:`), or annotate "
                "with the class itself"
            ) from exc
        except Exception as exc:  # a text may say anything
            raise TypeError(f"{what}, {_hint_text(hint)}, is not a type hint: {exc}") from exc


class MessageType(NamedTuple):
    """One type that a hint allows: as it is written, and the class that its instances have."""

    hint: Any
    cls: type[Any]


def types_in(hint: Any, what: str) -> tuple[MessageType, ...]:
    """Give the types that *hint* allows at run time, each once; `object` for ``Any``.

    Raises:
        TypeError: nothing can be an instance of it, as far as Python can tell; *what* says whose
            hint it is.
    """
    return tuple(dict.fromkeys(_types_in(hint, what)))


def _types_in(hint: Any, what: str) -> Iterator[MessageType]:
    if hint is Any:
        yield MessageType(object, object)
        return
    if hint is None:
        yield MessageType(NoneType, NoneType)
        return
    if hint is NoReturn or hint is Never:
        return
    if isinstance(hint, TypeVar):
        yield from _types_in_typevar(hint, what)
        return
    if isinstance(hint, NewType):
        yield from _types_in(hint.__supertype__, what)
        return
    if typing.is_typeddict(hint):
        yield MessageType(hint, dict)
        return
    origin = typing.get_origin(hint)
    if origin is Union or origin is UnionType:
        for argument in typing.get_args(hint):
            yield from _types_in(argument, what)
    elif origin is Annotated:
        yield from _types_in(typing.get_args(hint)[0], what)
    elif origin is Literal:
        raise TypeError(
            f"{what} is {_hint_text(hint)}, but handlers go by type, not by value: annotate with "
            "the type of the values, and tell them apart with match= or in the handler"
        )
    elif origin is not None:  # list[int] is a list, Box[int] a Box
        open_alias = bool(getattr(hint, "__parameters__", ()))
        for _, cls in _types_in(origin, what):
            yield MessageType(cls if open_alias else hint, cls)
    elif isinstance(hint, type):
        if getattr(hint, "_is_protocol", False) and not getattr(
            hint, "_is_runtime_protocol", False
        ):
            raise TypeError(
                f"{what} is the protocol {_class_name(hint)}, which says nothing at run time: "
                "decorate the protocol with @runtime_checkable"
            )
        yield MessageType(hint, hint)
    elif hasattr(hint, "__value__"):  # `type Name = ...`
        yield from _types_in(hint.__value__, what)
    else:
        raise TypeError(
            f"{what} is {_hint_text(hint)}, which handlers cannot go by: annotate with a class, a "
            "union of classes, None or Any"
        )


def _types_in_typevar(hint: TypeVar, what: str) -> Iterator[MessageType]:
    bounds = hint.__constraints__ or (Any if hint.__bound__ is None else hint.__bound__,)
    for bound in bounds:
        if isinstance(bound, typing.ForwardRef):
            raise TypeError(
                f"{what} is the type variable {hint!r}, whose bound is text "
                f"({bound.__forward_arg__!r}): give the class itself"
            )
        yield from _types_in(bound, what)


def annotations_of(func: FunctionType) -> Mapping[str, object]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(func, format=annotationlib.Format.FORWARDREF)
    return func.__annotations__


def _place(func: object) -> str:
    name: str = getattr(func, "__qualname__", None) or repr(func)
    return name.replace(".<locals>", "")


def _hint_text(hint: object) -> str:
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return _class_name(hint)
    if isinstance(hint, typing.ForwardRef):
        return repr(hint.__forward_arg__)
    return repr(hint)


def _class_name(cls: type[Any]) -> str:
    if cls is NoneType:
        return "None"
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


# --- Who handles this? -------------------------------------------------------------------------

_Candidates = tuple[tuple[Match | None, Call], ...]

MAX_REMEMBERED: Final = 4096  # classes of messages; programs that make classes as they go exist


def _check_not_autogens_handler(func: object, name: str, owner: type[Any]) -> None:
    """Refuse a method with AutoGen's decorator, which no table of ours would ever ask.

    Raises:
        TypeError: it has one.
    """
    if getattr(func, "__dict__", {}).get("is_message_handler") is True:
        raise TypeError(
            f"{owner.__qualname__}.{name} was decorated by another library: a RoutedAgent of "
            "trio_agents takes the decorators of trio_agents (message_handler, event, rpc), or of "
            "trio_agents.asyncio. Agents of autogen_core's classes run in "
            "trio_agents.interop.autogen.AutoGenRuntime"
        )


class DispatchTable:
    """The handlers of one class of agents, and what is known of who handles what."""

    def __init__(self, owner: type[Any]) -> None:
        """Collect the handlers of *owner*, its own and those it inherits.

        Raises:
            TypeError: a handler cannot be one.
        """
        self._handlers: dict[str, tuple[Handler, Call, type[Any]]] = {}
        seen: set[str] = set()
        for cls in owner.__mro__:
            for name, attribute in vars(cls).items():
                if name in seen:
                    continue  # overridden: by a handler, or by something that is none
                seen.add(name)
                func = getattr(attribute, "__func__", attribute)  # in a classmethod, say
                handler = getattr(func, "__dict__", {}).get(_HANDLER)
                if handler is None:
                    _check_not_autogens_handler(func, name, owner)
                    continue
                _check_ordinary(attribute, handler.name)
                self._handlers[name] = (handler, attribute, cls)
        # What `_find` would work out anew for each class, at most MAX_REMEMBERED each.
        self._direct: dict[type[Any], _Candidates] = {}
        self._published: dict[type[Any], _Candidates] = {}
        # In the alphabetical order of names; None until all hints are read.
        self._by_target: dict[type[Any], list[tuple[Handler, Call]]] | None = None

    def try_resolve(self) -> bool:
        """Read the hints that are not read yet; False if one has to wait for its names.

        Raises:
            TypeError: a hint can be read, and is not one that handlers can have.
        """
        try:
            self.resolve()
        except UnresolvedHint:
            return False
        return True

    def resolve(self) -> None:
        """Read all hints now. Once done, does nothing.

        Raises:
            TypeError: a hint cannot be read, or is not one that handlers can have.
        """
        if self._by_target is None:
            self._by_target = self._index()

    def _index(self) -> dict[type[Any], list[tuple[Handler, Call]]]:
        by_target: dict[type[Any], list[tuple[Handler, Call]]] = {}
        for _, (handler, func, cls) in sorted(self._handlers.items()):
            parameters: tuple[Any, ...] = getattr(cls, "__type_params__", ())
            handler.resolve(
                {
                    cls.__name__: cls,  # its own name is not bound yet while it is being made
                    **vars(cls),
                    **{parameter.__name__: parameter for parameter in parameters},
                }
            )
            handler.describe(func)
            assert handler.targets is not None
            for target in handler.targets:
                by_target.setdefault(target, []).append((handler, func))
        return by_target

    @property
    def receives(self) -> tuple[MessageType, ...]:
        """The types that the handlers name, each once. `object` stands for any.

        Raises:
            TypeError: a hint cannot be read, or is not one that handlers can have.
        """
        self.resolve()
        handlers = (handler for _, (handler, _, _) in sorted(self._handlers.items()))
        return tuple(dict.fromkeys(one for handler in handlers for one in handler.receives or ()))

    def choose(self, message: object, ctx: MessageContext) -> Call | None:
        """Give what is to be called with agent, message and context; None if nobody handles it.

        For a direct message that checks the reply against the handler's annotation.

        Raises:
            Exception: what a handler's ``match`` raised.
            TypeError: a hint cannot be read, or is not one that handlers can have.
        """
        remembered = self._direct if ctx.is_rpc else self._published
        cls = type(message)
        candidates = remembered.get(cls)
        if candidates is None:
            candidates = self._find(cls, direct=ctx.is_rpc)
            if len(remembered) >= MAX_REMEMBERED:
                remembered.clear()
            remembered[cls] = candidates
        for match, call in candidates:
            if match is None or match(message, ctx):
                return call
        return None

    def _find(self, cls: type[Any], *, direct: bool) -> _Candidates:
        self.resolve()
        assert self._by_target is not None
        unfit = Kind.EVENT if direct else Kind.RPC
        found: list[tuple[Match | None, Call]] = []
        settled: set[Call] = set()  # a union may name several bases of one class
        for target, certain in self._nearest_first(cls):
            for handler, func in self._by_target[target]:
                if handler.kind is unfit or func in settled:
                    continue
                match = handler.match if certain else _instances_only(target, handler.match)
                found.append((match, handler.answering(func) if direct else func))
                if certain:
                    settled.add(func)
        return tuple(found)

    def _nearest_first(self, cls: type[Any]) -> Iterator[tuple[type[Any], bool]]:
        """Give the targets for messages of class *cls*, and whether all its instances fit."""
        assert self._by_target is not None
        bases = cls.__mro__
        yield from ((base, True) for base in bases[:-1] if base in self._by_target)
        virtual = (target for target in self._by_target if target not in bases)
        # A class has more ancestors than any of its bases: the more special ones come first.
        for target in sorted(virtual, key=lambda target: -len(target.__mro__)):
            try:
                if issubclass(cls, target):
                    yield target, True
            except TypeError:  # a protocol with attributes: only instances can tell
                yield target, False
        if object in self._by_target:
            yield object, True


def _instances_only(target: type[Any], match: Match | None) -> Match:
    def instance_and_match(message: Any, ctx: MessageContext) -> bool:
        return isinstance(message, target) and (match is None or match(message, ctx))

    return instance_and_match
