from __future__ import annotations

import json
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import autogen_core.model_context as theirs
import autogen_core.models as their_models
import pytest
from autogen_ext.models.replay import ReplayChatCompletionClient as TheirClient
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

import trio_agents.model_context as ours
from trio_agents import FunctionCall
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.model_context import (
    BufferedChatCompletionContext,
    ChatCompletionContext,
    HeadAndTailChatCompletionContext,
    TokenLimitedChatCompletionContext,
    UnboundedChatCompletionContext,
)
from trio_agents.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    SystemMessage,
    UserMessage,
)
from trio_agents.tools import FunctionTool, ToolSchema

T = TypeVar("T")


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")


def user(text: str) -> LLMMessage:
    return UserMessage(content=text, source="user")


def calls(*ids: str) -> LLMMessage:
    return AssistantMessage(
        content=[FunctionCall(id=i, name="f", arguments="{}") for i in ids], source="a"
    )


def results(*ids: str) -> LLMMessage:
    return FunctionExecutionResultMessage(
        content=[FunctionExecutionResult(content="r", name="f", call_id=i) for i in ids]
    )


def answer(text: str) -> LLMMessage:
    return AssistantMessage(content=text, source="a")


IDS = st.lists(st.sampled_from("123"), min_size=1, max_size=2, unique=True)
ONE = st.one_of(
    st.builds(user, st.sampled_from(["one", "one two", "a b c"])),
    st.builds(answer, st.sampled_from(["yes", "no no"])),
    st.builds(lambda ids: calls(*ids), IDS),
    st.builds(lambda ids: results(*ids), IDS),
    st.builds(SystemMessage, content=st.just("s")),
)
# What agents write: each result right after its calls.
TURN = st.one_of(
    st.builds(lambda text: [user(text)], st.sampled_from(["one", "one two"])),
    st.builds(lambda ids: [calls(*ids), results(*ids)], IDS),
    st.builds(lambda ids: [calls(*ids), *(results(i) for i in ids)], IDS),
    st.just([answer("yes")]),
)
TIDY = st.lists(TURN, max_size=8).map(lambda turns: [m for turn in turns for m in turn])
ANY = st.lists(ONE, max_size=12) | TIDY


def is_subsequence(view: Sequence[object], whole: Sequence[object]) -> bool:
    rest = iter(whole)
    return all(any(one is other for other in rest) for one in view)


def torn(view: Sequence[LLMMessage], history: Sequence[LLMMessage]) -> list[str]:
    """Return the ids of results without calls, and of calls without results that exist."""
    found: list[str] = []
    asked: set[str] = set()
    for message in view:
        if isinstance(message, FunctionExecutionResultMessage):
            if not any(result.call_id in asked for result in message.content):
                found.append(f"results {[result.call_id for result in message.content]}")
        elif isinstance(message, AssistantMessage) and not isinstance(message.content, str):
            ids = [call.id for call in message.content]
            asked |= set(ids)
            found += [
                f"call {i}"
                for i in ids
                if answered(message, i, history) and not answered(message, i, view)
            ]
    return found


def answered(message: LLMMessage, call_id: str, messages: Sequence[LLMMessage]) -> bool:
    """Tell whether results of *message* follow it, before another call has the id."""
    index = next(i for i, other in enumerate(messages) if other is message)
    for other in messages[index + 1 :]:
        match other:
            case AssistantMessage(content=[*calls]) if any(c.id == call_id for c in calls):
                return False
            case FunctionExecutionResultMessage() if other.content[0].call_id == call_id:
                return True
            case _:
                pass
    return False


CLIENT = ReplayChatCompletionClient([])
CONTEXTS = st.one_of(
    st.builds(BufferedChatCompletionContext, st.integers(1, 6)),
    st.builds(HeadAndTailChatCompletionContext, st.integers(1, 4), st.integers(1, 4)),
    st.builds(
        lambda limit: TokenLimitedChatCompletionContext(CLIENT, token_limit=limit),
        st.integers(1, 12),
    ),
)


def view_of(context: ChatCompletionContext, history: Sequence[LLMMessage]) -> list[LLMMessage]:
    for message in history:
        now(context.add_message(message))
    return now(context.get_messages())


def without_note(view: list[LLMMessage]) -> list[LLMMessage]:
    return [m for m in view if not (isinstance(m, UserMessage) and m.source == "System")]


# MX-01 MX-03
@given(CONTEXTS, ANY)
@settings(max_examples=150, deadline=None)
def test_a_view_is_a_part_of_the_conversation_in_its_order(
    context: ChatCompletionContext, history: list[LLMMessage]
) -> None:
    assert is_subsequence(without_note(view_of(context, history)), history)


# MX-03
@given(CONTEXTS, ANY)
@settings(max_examples=150, deadline=None)
def test_no_view_tears_calls_from_their_results(
    context: ChatCompletionContext, history: list[LLMMessage]
) -> None:
    assert torn(without_note(view_of(context, history)), history) == []


# MX-04
@given(st.integers(1, 6), ANY)
@settings(deadline=None)
def test_a_buffer_is_never_exceeded(size: int, history: list[LLMMessage]) -> None:
    view = view_of(BufferedChatCompletionContext(size), history)
    assert len(view) <= size
    assert is_subsequence(view, history[-size:])


@given(st.integers(1, 4), st.integers(1, 4), ANY)
@settings(deadline=None)
def test_head_and_tail_are_never_exceeded(head: int, tail: int, history: list[LLMMessage]) -> None:
    view = view_of(HeadAndTailChatCompletionContext(head, tail), history)
    shown = without_note(view)
    assert len(shown) <= head + tail
    if len(history) > head + tail:
        count = len(history) - len(shown)
        assert UserMessage(content=f"Skipped {count} messages.", source="System") in view


@given(st.integers(1, 12), ANY)
@settings(deadline=None)
def test_a_token_limit_is_never_exceeded_and_used_up(limit: int, history: list[LLMMessage]) -> None:
    context = TokenLimitedChatCompletionContext(CLIENT, token_limit=limit)
    view = view_of(context, history)
    assert CLIENT.count_tokens(view) <= limit
    unlimited = view_of(TokenLimitedChatCompletionContext(CLIENT), history)
    if CLIENT.count_tokens(unlimited) <= limit:
        assert view == unlimited


@given(TIDY)
def test_nothing_is_left_out_where_there_is_room(history: list[LLMMessage]) -> None:
    for context in (
        UnboundedChatCompletionContext(),
        BufferedChatCompletionContext(100),
        HeadAndTailChatCompletionContext(50, 50),
        TokenLimitedChatCompletionContext(CLIENT),
    ):
        assert view_of(context, history) == history


@given(CONTEXTS | st.builds(UnboundedChatCompletionContext), ANY)
@settings(deadline=None)
def test_a_state_is_the_whole_conversation(
    context: ChatCompletionContext, history: list[LLMMessage]
) -> None:
    view = view_of(context, history)
    state = json.loads(json.dumps(now(context.save_state())))
    now(context.clear())
    assert now(context.get_messages()) == []
    now(context.load_state(state))
    assert now(context.get_messages()) == view
    other = UnboundedChatCompletionContext()
    now(other.load_state(state))
    assert now(other.get_messages()) == history


# MX-02
def test_a_view_is_a_list_of_its_own() -> None:
    context = UnboundedChatCompletionContext([user("a")])
    now(context.get_messages()).clear()
    assert now(context.get_messages()) == [user("a")]


def test_what_is_added_does_not_change_the_initial_messages() -> None:
    given_ = [user("a")]
    context = BufferedChatCompletionContext(5, given_)
    now(context.add_message(user("b")))
    given_.append(user("c"))
    assert now(context.get_messages()) == [user("a"), user("b")]
    initial = context.dump_component().config["initial_messages"]
    assert [message["content"] for message in initial] == ["a"]


def test_a_state_that_is_none_is_refused_and_changes_nothing() -> None:
    context = UnboundedChatCompletionContext([user("a")])
    with pytest.raises(ValidationError):
        now(context.load_state({"messages": [{"type": "Shout"}]}))
    assert now(context.get_messages()) == [user("a")]


@pytest.mark.parametrize("state", [{}, {"foo": 1}])
def test_the_state_of_something_else_does_not_empty_a_conversation(state: dict[str, int]) -> None:
    context = UnboundedChatCompletionContext([user("first")])
    with pytest.raises(ValidationError, match="messages"):
        now(context.load_state(state))
    assert now(context.get_messages()) == [user("first")]


def test_what_is_no_message_is_refused_when_it_is_added() -> None:
    context = UnboundedChatCompletionContext([user("first")])
    text: Any = "hi"
    with pytest.raises(TypeError, match=r"a message must be one of .*, not builtins\.str"):
        now(context.add_message(text))
    with pytest.raises(TypeError, match=r"a message must be one of .*, not builtins\.str"):
        UnboundedChatCompletionContext([text])
    assert now(context.get_messages()) == [user("first")]


def test_results_are_never_first_where_a_buffer_has_cut_off_their_calls() -> None:
    context = BufferedChatCompletionContext(2)
    assert view_of(context, [user("q"), calls("1"), results("1"), answer("done")]) == [
        answer("done")
    ]


def test_several_messages_with_results_of_one_answer_stay_together() -> None:
    history = [calls("1", "2"), results("1"), results("2"), answer("done")]
    assert view_of(BufferedChatCompletionContext(3), history) == [answer("done")]
    assert view_of(BufferedChatCompletionContext(4), history) == history


def test_calls_that_wait_for_their_results_are_shown() -> None:
    assert view_of(BufferedChatCompletionContext(1), [user("q"), calls("1")]) == [calls("1")]


VIEWS = [
    BufferedChatCompletionContext(50),
    HeadAndTailChatCompletionContext(20, 30),
    TokenLimitedChatCompletionContext(CLIENT),
]


@pytest.mark.parametrize("context", VIEWS, ids=lambda context: type(context).__name__)
@pytest.mark.parametrize(
    ("history", "shown"),
    [
        ([user("a"), calls("1", "2"), user("b")], [user("a"), user("b")]),
        ([user("a"), calls("1", "2"), results("1"), user("b")], [user("a"), user("b")]),
        ([user("a"), calls("1"), calls("2"), results("2")], [user("a"), calls("2"), results("2")]),
        ([calls("1"), calls("1"), results("1")], [calls("1"), results("1")]),
        ([user("a"), calls("1", "2"), user("b"), results("1")], [user("a"), user("b")]),
    ],
)
def test_calls_that_were_never_all_answered_are_not_shown(
    context: ChatCompletionContext, history: list[LLMMessage], shown: list[LLMMessage]
) -> None:
    now(context.clear())
    assert view_of(context, history) == shown


@pytest.mark.parametrize("context", VIEWS, ids=lambda context: type(context).__name__)
@pytest.mark.parametrize(
    "history", [[user("a"), calls("1", "2")], [user("a"), calls("1", "2"), results("1")]]
)
def test_calls_at_the_end_are_shown_while_their_results_are_added(
    context: ChatCompletionContext, history: list[LLMMessage]
) -> None:
    now(context.clear())
    assert view_of(context, history) == history


def test_an_unbounded_context_shows_calls_that_were_never_answered() -> None:
    history = [user("a"), calls("1", "2"), user("b")]
    assert view_of(UnboundedChatCompletionContext(), history) == history


def test_ids_that_are_used_again_belong_to_the_last_calls() -> None:
    history = [calls("1"), results("1"), user("q"), calls("1"), results("1")]
    assert view_of(BufferedChatCompletionContext(4), history) == history[2:]


def test_head_and_tail_tear_nothing_apart_at_either_edge() -> None:
    history = [
        user("1"),
        calls("1"),
        results("1"),
        user("3"),
        calls("1"),
        results("1"),
        answer("z"),
    ]
    note = UserMessage(content="Skipped 5 messages.", source="System")
    assert view_of(HeadAndTailChatCompletionContext(2, 2), history) == [
        user("1"),
        note,
        answer("z"),
    ]


def test_head_and_tail_put_nothing_between_calls_and_results() -> None:
    history = [calls("1"), user("x"), user("y"), results("1")]
    note = UserMessage(content="Skipped 4 messages.", source="System")
    assert view_of(HeadAndTailChatCompletionContext(1, 1), history) == [note]


def test_a_token_limit_leaves_out_the_middle_first_and_the_end_last() -> None:
    history = [user("task"), user("a"), user("b"), user("c"), user("now")]
    shown = {
        limit: view_of(TokenLimitedChatCompletionContext(CLIENT, token_limit=limit), history)
        for limit in range(1, 6)
    }
    assert shown[5] == history
    assert shown[4] == [user("task"), user("a"), user("c"), user("now")]
    assert shown[3] == [user("task"), user("c"), user("now")]
    assert shown[2] == [user("task"), user("now")]
    assert shown[1] == [user("now")]


def test_a_message_longer_than_the_limit_is_not_shown() -> None:
    context = TokenLimitedChatCompletionContext(CLIENT, token_limit=1)
    assert view_of(context, [user("a b c")]) == []


class Counting(ReplayChatCompletionClient):
    """Tools cost ten tokens each; how often it was asked is counted."""

    asked = 0

    def count_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Any] = ()) -> int:
        self.asked += 1
        return super().count_tokens(messages) + 10 * len(tools)


def test_the_tools_take_room_too() -> None:
    tool: ToolSchema = {"name": "look"}
    context = TokenLimitedChatCompletionContext(
        Counting([]), token_limit=12, tool_schema=[tool], initial_messages=[user("a b c")]
    )
    assert now(context.get_messages()) == []
    now(context.load_state({"messages": [{"type": "SystemMessage", "content": "a b"}]}))
    assert len(now(context.get_messages())) == 1


def test_without_a_limit_the_client_says_how_much_room_there_is() -> None:
    context = TokenLimitedChatCompletionContext(CLIENT)
    view = view_of(context, [user("a " * 6000), user("b " * 6000)])
    assert view == [user("b " * 6000)]
    full = TokenLimitedChatCompletionContext(CLIENT, initial_messages=[user("a " * 10_000)])
    assert len(now(full.get_messages())) == 1


def test_a_long_conversation_is_counted_a_few_times_only() -> None:
    client = Counting([])
    context = TokenLimitedChatCompletionContext(
        client, token_limit=10, initial_messages=[user("a")] * 1000
    )
    assert len(now(context.get_messages())) == 10
    assert client.asked <= 12


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: BufferedChatCompletionContext(0), "buffer_size"),
        (lambda: HeadAndTailChatCompletionContext(0, 1), "head_size"),
        (lambda: HeadAndTailChatCompletionContext(1, 0), "tail_size"),
        (lambda: TokenLimitedChatCompletionContext(CLIENT, token_limit=0), "token_limit"),
    ],
)
def test_a_size_of_nothing_is_refused_by_name(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 1 or more, not 0"):
        make()


def test_all_names_of_autogen_are_here() -> None:
    assert set(theirs.__all__) == set(ours.__all__)


HELLO = their_models.UserMessage(content="hello", source="user")
FOREIGN: list[theirs.ChatCompletionContext] = [
    theirs.UnboundedChatCompletionContext(),
    theirs.UnboundedChatCompletionContext([HELLO]),
    theirs.BufferedChatCompletionContext(2, [HELLO]),
    theirs.HeadAndTailChatCompletionContext(1, 2, [HELLO]),
    theirs.TokenLimitedChatCompletionContext(TheirClient(["x"]), token_limit=5),
    theirs.TokenLimitedChatCompletionContext(
        TheirClient(["x"]), tool_schema=[{"name": "look"}], initial_messages=[HELLO]
    ),
]


# MX-01
@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda context: type(context).__name__)
def test_autogens_dump_loads_and_is_dumped_the_same(foreign: theirs.ChatCompletionContext) -> None:
    dumped = json.loads(foreign.dump_component().model_dump_json())
    context = ChatCompletionContext.load_component(dumped)
    assert type(context).__name__ == type(foreign).__name__
    again = json.loads(context.dump_component().model_dump_json())
    assert again["component_type"] == dumped["component_type"]
    again["config"].pop("model_client", None)
    dumped["config"].pop("model_client", None)
    assert again["config"] == dumped["config"]


async def test_autogens_state_loads_and_it_loads_ours() -> None:
    foreign = theirs.UnboundedChatCompletionContext([HELLO])
    context = UnboundedChatCompletionContext()
    await context.load_state(await foreign.save_state())
    assert await context.get_messages() == [user("hello")]
    await foreign.load_state(await context.save_state())
    assert await foreign.get_messages() == [HELLO]


@given(st.lists(st.builds(user, st.text())), st.integers(1, 5), st.integers(1, 5))
@settings(deadline=None)
def test_views_of_plain_text_are_autogens(history: list[LLMMessage], head: int, tail: int) -> None:
    same = TypeAdapter[Any](list[their_models.LLMMessage]).validate_python(
        [message.model_dump() for message in history]
    )
    pairs: list[tuple[ChatCompletionContext, theirs.ChatCompletionContext]] = [
        (BufferedChatCompletionContext(tail), theirs.BufferedChatCompletionContext(tail, same)),
        (
            HeadAndTailChatCompletionContext(head, tail),
            theirs.HeadAndTailChatCompletionContext(head, tail, same),
        ),
    ]
    for mine, foreign in pairs:
        view = [message.model_dump() for message in view_of(mine, history)]
        assert view == [message.model_dump() for message in now(foreign.get_messages())]


async def test_a_context_of_ones_own_chooses_what_is_shown() -> None:
    class OnlyQuestions(UnboundedChatCompletionContext):
        async def get_messages(self) -> list[LLMMessage]:
            return [m for m in await super().get_messages() if isinstance(m, UserMessage)]

    context = OnlyQuestions([user("q"), answer("a")])
    assert await context.get_messages() == [user("q")]


class Node(BaseModel):
    inner: list[Node]


def takes_trees(root: Node, **counts: int) -> None: ...


def test_the_schema_of_any_tool_survives_a_dump() -> None:
    schema = FunctionTool(takes_trees, "Takes trees.").schema
    context = TokenLimitedChatCompletionContext(CLIENT, tool_schema=[schema])
    assert context.dump_component().config["tool_schema"] == [schema]


def test_a_tool_schema_without_properties_survives_a_dump() -> None:
    schema: Any = {"name": "f", "parameters": {"type": "object"}}
    context = TokenLimitedChatCompletionContext(CLIENT, tool_schema=[schema])
    again = ChatCompletionContext.load_component(context.dump_component())
    assert again.dump_component().config["tool_schema"] == [schema]
