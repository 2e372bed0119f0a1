from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import autogen_core.memory as theirs
import autogen_core.model_context as their_context
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image as pil
from pydantic import ValidationError

import trio_agents.memory as ours
from trio_agents import CancellationToken, Image
from trio_agents.memory import ListMemory, Memory, MemoryContent, MemoryMimeType
from trio_agents.model_context import (
    BufferedChatCompletionContext,
    UnboundedChatCompletionContext,
)
from trio_agents.models import SystemMessage, UserMessage

TEA = MemoryContent(content="drinks tea", mime_type=MemoryMimeType.TEXT, metadata={"since": 1990})
AGE = MemoryContent(content={"age": 42, "näme": "x"}, mime_type="application/json")
DATA = MemoryContent(content=b"\x00\xff", mime_type=MemoryMimeType.BINARY)
FACE = MemoryContent(
    content=Image.from_pil(pil.new("RGB", (2, 1), "red")), mime_type=MemoryMimeType.IMAGE
)
HELLO = UserMessage(content="hello", source="user")


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Mapping[str, Any]]:
    names = st.text(max_size=5) | st.sampled_from(["base64", "data"])
    return st.dictionaries(names, values, max_size=3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | objects(values),
    max_leaves=4,
)


def is_no_picture(content: Any) -> bool:
    return content.keys() not in ({"data"}, {"base64"})


def test_a_picture_under_another_kind_of_data_is_a_dictionary() -> None:
    content = {"data": FACE.model_dump()["content"]["data"]}
    piece = MemoryContent(content=content, mime_type=MemoryMimeType.JSON)
    assert piece.content == content
    assert MemoryContent.model_validate_json(piece.model_dump_json()).content == content


def test_a_picture_that_would_not_come_back_as_one_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"begins with image/, and not text/plain"):
        MemoryContent(content=FACE.content, mime_type=MemoryMimeType.TEXT)


def test_a_mime_type_is_the_one_of_its_name_and_equal_to_its_text() -> None:
    piece = MemoryContent(content="x", mime_type="text/plain")
    assert piece.mime_type is MemoryMimeType.TEXT
    assert piece.mime_type == "text/plain"


def test_a_content_of_another_type_is_refused() -> None:
    for content in (1, {1: 2}, ["x"]):
        with pytest.raises(ValidationError):
            MemoryContent.model_validate({"content": content, "mime_type": "text/plain"})


MIME = st.sampled_from(MemoryMimeType) | st.sampled_from(["image/png", "text/x-mine"])
CONTENTS = st.builds(
    MemoryContent,
    content=st.text() | st.binary() | objects(JSON).filter(is_no_picture),
    mime_type=MIME,
    metadata=st.none() | objects(JSON),
) | st.builds(
    MemoryContent,
    content=st.just(FACE.content),
    mime_type=st.sampled_from([MemoryMimeType.IMAGE, "image/png"]),
    metadata=st.none() | objects(JSON),
)


def same(one: MemoryContent, other: MemoryContent) -> bool:
    return (
        type(one.content) is type(other.content)
        and one.content == other.content
        and one.metadata == other.metadata
        and one.mime_type == other.mime_type
        and type(one.mime_type) is type(other.mime_type)
    )


@given(CONTENTS)
@settings(deadline=None)
def test_a_piece_comes_back_from_json_as_what_it_was(piece: MemoryContent) -> None:
    assert same(MemoryContent.model_validate_json(piece.model_dump_json()), piece)
    assert same(MemoryContent.model_validate(piece.model_dump()), piece)


@given(st.lists(CONTENTS, max_size=4))
@settings(deadline=None)
def test_a_dump_is_the_state_of_a_memory(pieces: list[MemoryContent]) -> None:
    memory = ListMemory(name="x", memory_contents=pieces)
    data = json.loads(memory.dump_component().model_dump_json())
    again = Memory.load_component(data)
    assert isinstance(again, ListMemory)
    assert again.name == "x"
    assert len(again.content) == len(pieces)
    assert all(same(one, other) for one, other in zip(again.content, pieces, strict=True))
    assert json.loads(again.dump_component().model_dump_json()) == data


def test_base64_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="no base64"):
        MemoryContent(content={"base64": "!"}, mime_type=MemoryMimeType.BINARY)
    with pytest.raises(ValidationError, match="base64 in a str, not int"):
        MemoryContent(content={"data": 5}, mime_type="image/png")
    with pytest.raises(ValidationError, match="no PNG"):
        MemoryContent(content={"data": "aGVsbG8="}, mime_type="image/png")


async def test_what_is_added_is_found_in_its_order() -> None:
    memory = ListMemory(memory_contents=[TEA])
    await memory.add(AGE)
    assert (await memory.query("anything")).results == [TEA, AGE]
    assert (await memory.query()).results == memory.content == [TEA, AGE]
    await memory.clear()
    assert (await memory.query(TEA)).results == []
    await memory.close()


async def test_a_result_is_a_list_of_its_own() -> None:
    given = [TEA]
    memory = ListMemory(memory_contents=given)
    (await memory.query()).results.clear()
    given.clear()
    assert (await memory.query()).results == [TEA]


async def test_contents_can_be_replaced() -> None:
    memory = ListMemory()
    memory.content = [AGE]
    assert (await memory.query()).results == [AGE]


async def test_a_context_gets_a_message_with_all_memories() -> None:
    memory = ListMemory(memory_contents=[TEA, AGE, DATA, FACE])
    context = UnboundedChatCompletionContext([HELLO])
    updated = await memory.update_context(context)
    assert updated.memories.results == [TEA, AGE, DATA, FACE]
    assert await context.get_messages() == [
        HELLO,
        SystemMessage(
            content="\nRelevant memory content (in chronological order):\n"
            "1. drinks tea\n"
            '2. {"age": 42, "näme": "x"}\n'
            "3. <2 bytes of application/octet-stream>\n"
            "4. <Image 2x1>\n"
        ),
    ]


async def test_texts_are_told_as_autogen_does() -> None:
    texts = ["likes tea", "lives in a town\nby the sea"]
    mine, foreign = ListMemory(), theirs.ListMemory()
    for text in texts:
        await mine.add(MemoryContent(content=text, mime_type=MemoryMimeType.TEXT))
        await foreign.add(theirs.MemoryContent(content=text, mime_type=theirs.MemoryMimeType.TEXT))
    context, other = (
        UnboundedChatCompletionContext(),
        their_context.UnboundedChatCompletionContext(),
    )
    await mine.update_context(context)
    await foreign.update_context(other)
    (message,), (expected,) = await context.get_messages(), await other.get_messages()
    assert message.model_dump() == expected.model_dump()


async def test_a_memory_of_nothing_adds_nothing() -> None:
    context = UnboundedChatCompletionContext()
    assert (await ListMemory().update_context(context)).memories.results == []
    assert await context.get_messages() == []


async def test_what_the_model_sees_already_is_not_added_again() -> None:
    memory = ListMemory(memory_contents=[TEA])
    context = BufferedChatCompletionContext(2)
    for _ in range(3):
        await memory.update_context(context)
    assert len(await context.get_messages()) == 1
    await memory.add(AGE)
    await memory.update_context(context)
    assert len(await context.get_messages()) == 2
    await context.add_message(HELLO)
    await context.add_message(HELLO)  # out of sight
    await memory.update_context(context)
    assert isinstance((await context.get_messages())[-1], SystemMessage)


async def test_a_cancelled_token_adds_nothing(MessageCancelled: type[BaseException]) -> None:
    token = CancellationToken()
    token.cancel()
    memory = ListMemory()
    with pytest.raises(MessageCancelled):
        await memory.add(TEA, token)
    with pytest.raises(MessageCancelled):
        await memory.query("x", token)
    assert memory.content == []


async def test_what_is_no_memory_content_is_refused_when_it_is_added() -> None:
    memory = ListMemory()
    text: Any = "drinks tea"
    with pytest.raises(TypeError, match=r"not builtins\.str: MemoryContent\("):
        await memory.add(text)
    with pytest.raises(TypeError, match="expected a MemoryContent"):
        memory.content = [text]
    with pytest.raises(TypeError, match="expected a MemoryContent"):
        ListMemory(memory_contents=[text])
    assert memory.content == []


def test_the_names_and_fields_are_those_of_autogen() -> None:
    assert set(theirs.__all__) == set(ours.__all__)
    for name in ("MemoryContent", "MemoryQueryResult", "UpdateContextResult"):
        assert list(getattr(ours, name).model_fields) == list(getattr(theirs, name).model_fields)
    assert {m.name: m.value for m in MemoryMimeType} == {
        m.name: m.value for m in theirs.MemoryMimeType
    }


def test_autogens_dump_loads_and_it_loads_ours() -> None:
    foreign = theirs.ListMemory(
        name="x",
        memory_contents=[
            theirs.MemoryContent(content="a", mime_type=theirs.MemoryMimeType.MARKDOWN),
            theirs.MemoryContent(content={"k": 1}, mime_type="application/json"),
        ],
    )
    data = json.loads(foreign.dump_component().model_dump_json())
    memory = Memory.load_component(data)
    assert isinstance(memory, ListMemory)
    assert [piece.content for piece in memory.content] == ["a", {"k": 1}]
    dumped = memory.dump_component().model_dump()
    assert dumped["config"] == data["config"]
    dumped["provider"] = "autogen_core.memory.ListMemory"
    assert theirs.ListMemory.load_component(dumped).name == "x"


def test_without_a_name_it_has_autogens() -> None:
    assert ListMemory().name == theirs.ListMemory().name
