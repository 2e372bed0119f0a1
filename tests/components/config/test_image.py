"""Pictures, for models and in messages."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
import subprocess
import sys
import textwrap
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import pytest
from hypothesis import given, strategies as st
from pydantic import AnyUrl, BaseModel, Field, SecretStr, TypeAdapter, ValidationError

from trio_agents import FunctionCall, Image, try_get_known_serializers_for_type
from trio_agents.exceptions import MessageDecodeError, MessageEncodeError
from trio_agents.models import (
    AssistantMessage,
    ChatCompletionTokenLogprob,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    TopLogprob,
    UserMessage,
)
from trio_agents.tools import ImageResultContent, TextResultContent, ToolResult

PIL_Image: Any = pytest.importorskip("PIL.Image")

FORMATS = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO"]


def picture(color: str = "red", size: tuple[int, int] = (3, 2)) -> Image:
    return Image(PIL_Image.new("RGB", size, color))


def file_of(image: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


RED = picture()
BLUE = picture("blue")


# IMG-01 IMG-02
def test_an_image_wraps_one_of_pil_as_rgb() -> None:
    theirs = PIL_Image.new("RGBA", (3, 2), (255, 0, 0, 255))
    for image in (Image(theirs), Image.from_pil(theirs)):
        assert image.image.mode == "RGB"
        assert image.image.size == (3, 2)
        assert image == RED
    theirs.putpixel((0, 0), (0, 0, 255, 255))
    assert image == RED  # its own copy


@pytest.mark.parametrize("value", [None, "x.png", b"x", RED])
def test_what_is_no_picture_of_pils_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a PIL image, not .*from_file"):
        Image(value)


def test_pictures_compare_by_their_pixels_and_show_none() -> None:
    assert picture() == RED
    assert RED != BLUE
    assert picture(size=(2, 3)) != RED
    assert RED != "red"
    assert repr(RED) == "<Image 3x2>"
    with pytest.raises(TypeError, match="unhashable"):
        hash(RED)


# IMG-04 IMG-06
@pytest.mark.parametrize("kind", FORMATS)
def test_base64_of_any_usual_file_is_read(kind: str) -> None:
    image = PIL_Image.new("RGB", (16, 16), "red")
    read = Image.from_base64(base64.b64encode(file_of(image, kind)).decode())
    assert read.image.size == (16, 16)
    r, g, b = read.image.getpixel((8, 8))
    assert (r > 250, g < 5, b < 5) == (True, True, True)


# IMG-04 IMG-06
@given(st.binary(min_size=12, max_size=12), st.sampled_from([(4, 1), (1, 4), (2, 2)]))
def test_base64_is_exact(pixels: bytes, size: tuple[int, int]) -> None:
    image = Image(PIL_Image.frombytes("RGB", size, pixels))
    assert Image.from_base64(image.to_base64()) == image
    assert Image.from_uri(image.data_uri) == image


# IMG-03 IMG-07
def test_a_data_uri_is_read_and_written() -> None:
    assert RED.data_uri.startswith("data:image/png;base64,iVBOR")
    assert Image.from_uri(RED.data_uri) == RED
    jpeg = base64.b64encode(file_of(RED.image, "BMP")).decode()
    assert Image.from_uri(f"data:image/bmp;base64,{jpeg}") == RED


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://127.0.0.1/x.png",
        "file:///etc/passwd",
        "data:text/html;base64,AAAA",
        "data:image/png,AAAA",
        "data:image/png;base64,???",
        "data:image/png;base64",
        " data:image/png;base64,AAAA",
    ],
)
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"expected data:image/<kind>;base64"):
        Image.from_uri(uri)


# IMG-05
def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(file_of(RED.image, "PNG"))
    assert Image.from_file(path) == RED
    with pytest.raises(FileNotFoundError):
        Image.from_file(tmp_path / "missing.png")
    path.write_text("no picture")
    with pytest.raises(ValueError, match=r"red\.png is no PNG, JPEG"):
        Image.from_file(path)


# IMG-08
@pytest.mark.parametrize("detail", ["auto", "low", "high"])
def test_openai_takes_it_as_a_part(detail: Literal["auto", "low", "high"]) -> None:
    assert RED.to_openai_format(detail) == {
        "type": "image_url",
        "image_url": {"url": RED.data_uri, "detail": detail},
    }
    assert RED.to_openai_format()["image_url"]["detail"] == "auto"


def test_a_notebook_shows_it() -> None:
    assert Image.from_base64(base64.b64encode(RED._repr_png_()).decode()) == RED


# What is not trusted


def png(width: int, height: int) -> bytes:
    """Return a PNG that claims to have this size, and is small."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(10_000, 10_000), (65_000, 65_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_not_decoded(size: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in a program, where PIL only warns of some
        with pytest.raises(ValueError, match=r"pixels|DecompressionBombError"):
            Image.from_base64(base64.b64encode(png(*size)).decode())


def test_pils_own_limit_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = picture(size=(10, 10)).to_base64()
    monkeypatch.setattr(PIL_Image, "MAX_IMAGE_PIXELS", 99)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="more than 99 pixels"):
            Image.from_base64(text)
    monkeypatch.setattr(PIL_Image, "MAX_IMAGE_PIXELS", None)
    assert Image.from_base64(text).image.size == (10, 10)


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
(%pipe%touch wreck) (w) file
%%EOF
"""


@pytest.mark.parametrize(
    "content",
    [b"", b"x", EPS, b"<svg/>", b"GIF89a", png(3, 2)[:40], b"\x89PNG\r\n\x1a\n" + b"\0" * 100],
    ids=["empty", "text", "eps", "svg", "gif", "cut", "zeros"],
)
def test_what_is_no_picture_is_an_error_that_quotes_nothing(content: bytes) -> None:
    with pytest.raises(
        ValueError, match=r"the decoded base64 is no PNG, JPEG, .*that PIL"
    ) as caught:
        Image.from_base64(base64.b64encode(content).decode())
    assert caught.value.__context__ is None


def test_a_picture_that_would_start_a_program_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin: Any = pytest.importorskip("PIL.EpsImagePlugin")
    started: list[object] = []

    def ghostscript(*arguments: object, **options: object) -> Any:
        started.append(arguments)
        return PIL_Image.new("RGB", (2, 2)).im

    monkeypatch.setattr(plugin, "Ghostscript", ghostscript)
    content = file_of(RED.image, "EPS")
    PIL_Image.open(io.BytesIO(content)).load()
    assert len(started) == 1  # by PIL itself
    with pytest.raises(ValueError, match="is no PNG"):
        Image.from_base64(base64.b64encode(content).decode())
    assert len(started) == 1


@pytest.mark.parametrize("text", ["?", "AAA", "é", "\ud800"])
def test_what_is_no_base64_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="an image must be base64"):
        Image.from_base64(text)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_a_picture_or_a_value_error(noise: bytes, cut: int) -> None:
    start = file_of(RED.image, "PNG")[:cut]
    with contextlib.suppress(ValueError):
        Image.from_base64(base64.b64encode(start + noise).decode())


# In pydantic models


class Album(BaseModel):
    cover: Image
    pages: list[str | Image] = []
    back: Image | None = None


# IMG-10
def test_models_have_fields_of_pictures() -> None:
    album = Album(cover=RED, pages=["text", BLUE])
    assert Album.model_validate_json(album.model_dump_json()) == album
    assert Album.model_validate(album.model_dump()) == album
    assert album.cover is RED
    assert album.model_dump()["cover"] == {"data": RED.to_base64()}


def test_a_model_tells_the_schema_of_pictures() -> None:
    assert TypeAdapter(Image).json_schema() == {
        "type": "object",
        "properties": {"data": {"type": "string", "format": "base64"}},
        "required": ["data"],
    }


@pytest.mark.parametrize(
    "value", [None, 5, "x", [], {}, {"data": 5}, {"data": "?"}, {"data": "AAAA"}, {"DATA": ""},
              {"data": RED.to_base64(), "more": 1}]
)  # fmt: skip
def test_what_is_no_picture_is_no_field(value: Any) -> None:
    with pytest.raises(ValidationError):
        Album.model_validate({"cover": value})
    with pytest.raises(ValidationError):
        Album.model_validate_json(json.dumps({"cover": value}))


# IMG-10
def test_what_autogen_writes_is_read_and_the_other_way_round() -> None:
    theirs = pytest.importorskip("autogen_core.models")
    their_image = pytest.importorskip("autogen_core").Image
    message = theirs.UserMessage(content=["a", their_image(RED.image)], source="u")
    assert UserMessage.model_validate_json(message.model_dump_json()) == UserMessage(
        content=["a", RED], source="u"
    )
    back = theirs.UserMessage.model_validate_json(
        UserMessage(content=[RED], source="u").model_dump_json()
    )
    assert Image(back.content[0].image) == RED


# In messages of a runtime


@attrs.frozen
class Shot:
    image: Image
    caption: str | Image = ""
    others: list[str | Image] = attrs.field(factory=list)
    maybe: Image | None = None


@dataclass
class Frame:
    image: Image
    caption: str | Image
    others: list[str | Image]
    maybe: Image | None
    either: Image | Shot | FunctionCall | int
    by_name: dict[str, Image]


@dataclass
class Conversation:
    history: list[LLMMessage]
    last: LLMMessage | None = None
    result: CreateResult | None = None
    tool: ToolResult | None = None
    executed: tuple[FunctionExecutionResult, ...] = ()


HISTORY: list[LLMMessage] = [
    SystemMessage(content="s"),
    UserMessage(content=["look", RED], source="user"),
    UserMessage(content="x", source="SystemMessage"),
    AssistantMessage(content="hm", source="agent", thought="deep"),
    AssistantMessage(content=[FunctionCall("1", '{"a": 1}', "f")], source="agent"),
    FunctionExecutionResultMessage(
        content=[FunctionExecutionResult(content="r", name="f", call_id="1", is_error=False)]
    ),
]
RESULT = CreateResult(
    finish_reason="function_calls",
    content=[FunctionCall("1", "{}", "f")],
    usage=RequestUsage(1, 2),
    cached=False,
    logprobs=[
        ChatCompletionTokenLogprob(
            token="t", logprob=-0.5, top_logprobs=[TopLogprob(-1.0, [116])], bytes=[116]
        )
    ],
)
TOOL = ToolResult(
    name="f", result=[TextResultContent(content="x"), ImageResultContent(content=BLUE)]
)


def round_trip(message: Any) -> Any:
    (serializer,) = try_get_known_serializers_for_type(type(message))
    payload = serializer.serialize(message)
    json.loads(payload)
    return serializer.deserialize(payload)


# IMG-10
@pytest.mark.parametrize(
    "message",
    [
        Shot(RED),
        Shot(RED, "text", ["a", BLUE], RED),
        Shot(RED, BLUE, [BLUE], None),
        *(
            Frame(RED, BLUE, ["data", RED], BLUE, either, {"a": RED})
            for either in (RED, Shot(BLUE), FunctionCall("1", "{}", "f"), 5)
        ),
        Album(cover=RED, pages=["text", BLUE], back=RED),
        Conversation(HISTORY),
        *(Conversation([], last) for last in HISTORY),
        Conversation([], None, RESULT, TOOL, (FunctionExecutionResult(
            content="r", name="f", call_id="1"),)),
        *HISTORY,
        RESULT,
        TOOL,
        FunctionExecutionResult(content="r", name="f", call_id="1"),
    ],
    ids=lambda message: type(message).__name__,
)  # fmt: skip
def test_messages_with_pictures_come_back(message: Any) -> None:
    assert round_trip(message) == message


# IMG-10
def test_the_members_of_a_conversation_are_told_apart() -> None:
    back = round_trip(Conversation(HISTORY))
    assert [type(each) for each in back.history] == [type(each) for each in HISTORY]


PART = {"data": RED.to_base64()}


@pytest.mark.parametrize(
    "fields",
    [
        {"image": None},
        {"image": "x"},
        {"image": []},
        {"image": {}},
        {"image": {"data": 5}},
        {"image": {"data": "?"}},
        {"image": {"data": "AAAA"}},
        {"image": {"data": base64.b64encode(EPS).decode()}},
        {"image": {"data": base64.b64encode(png(65_000, 65_000)).decode()}},
        {"image": {**PART, "more": 1}},
        {"image": {"Image": PART}},
        {"image": PART, "caption": {"text": "x"}},
        {"image": PART, "others": ["x", {"data": "x"}]},
        {"image": PART, "maybe": 0},
    ],
)
def test_hostile_json_is_an_error_that_names_the_field(fields: dict[str, Any]) -> None:
    (serializer,) = try_get_known_serializers_for_type(Shot)
    where = list(fields)[-1]
    with pytest.raises(MessageDecodeError, match=rf"Shot\.{where}") as caught:
        serializer.deserialize(json.dumps(fields).encode())
    assert caught.value.__context__ is None


def test_another_object_in_place_of_a_picture_is_refused_when_written() -> None:
    (serializer,) = try_get_known_serializers_for_type(Shot)

    class Better(Image):
        pass

    for value in (RED.image, {"data": RED.to_base64()}, Better(RED.image), None):
        with pytest.raises(MessageEncodeError, match=r"Shot\.image: expected Image, found"):
            serializer.serialize(Shot(value))


# Other classes that tell pydantic how they look


@dataclass
class Link:
    url: AnyUrl
    either: AnyUrl | int
    both: AnyUrl | str


def test_classes_that_pydantic_knows_are_fields_too() -> None:
    url = AnyUrl("http://example.com/")
    for message in (Link(url, url, url), Link(url, 5, "http://example.com/")):
        assert round_trip(message) == message


@dataclass
class Letter:
    secret: SecretStr


def test_a_secret_is_no_field_of_a_message() -> None:
    (serializer,) = try_get_known_serializers_for_type(Letter)
    with pytest.raises(MessageEncodeError, match=r"Letter\.secret: SecretStr cannot .*asterisks"):
        serializer.serialize(Letter(SecretStr("x")))


class Odd:
    """What pydantic asks of it is at each test's will."""

    schema: Any = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        if isinstance(cls.schema, Exception):
            raise cls.schema
        return cls.schema or handler(source)


def odd(schema: Any) -> Any:
    cls = type("Strange", (Odd,), {"schema": schema})

    @dataclass
    class Holder:
        value: cls  # type: ignore[valid-type]

    Holder.__annotations__["value"] = cls
    return Holder, cls


@pytest.mark.parametrize("schema", [None, RuntimeError("no")])
def test_a_class_that_pydantic_can_make_nothing_of_is_an_error(schema: Any) -> None:
    holder, cls = odd(schema)
    (serializer,) = try_get_known_serializers_for_type(holder)
    with pytest.raises(MessageEncodeError, match=r"value: Strange: pydantic makes no schema of it"):
        serializer.serialize(holder(cls()))


def test_a_class_without_a_json_schema_may_be_a_field() -> None:
    from pydantic_core import core_schema as cs

    holder, cls = odd(None)
    cls.__eq__ = lambda self, other: type(self) is type(other)
    cls.schema = cs.no_info_plain_validator_function(
        lambda value: cls(), serialization=cs.plain_serializer_function_ser_schema(lambda _: [1])
    )
    assert round_trip(holder(cls())) == holder(cls())


@pytest.mark.parametrize(
    ("written", "reason"),
    [(float("nan"), "NaN"), ([1], "is a JSON array, which its schema denies")],
)
def test_a_class_that_writes_what_it_should_not_is_an_error(written: Any, reason: str) -> None:
    from pydantic_core import core_schema as cs

    holder, cls = odd(None)
    cls.schema = cs.no_info_after_validator_function(
        lambda value: cls(),
        cs.float_schema(),
        serialization=cs.plain_serializer_function_ser_schema(
            lambda _: written, return_schema=cs.any_schema()
        ),
    )
    cls.__get_pydantic_json_schema__ = classmethod(lambda *_: {"type": "number"})
    (serializer,) = try_get_known_serializers_for_type(holder)
    with pytest.raises(MessageEncodeError, match=reason):
        serializer.serialize(holder(cls()))


def test_a_class_that_reads_as_another_is_an_error() -> None:
    from pydantic_core import core_schema as cs

    holder, _ = odd(cs.int_schema())
    (serializer,) = try_get_known_serializers_for_type(holder)
    with pytest.raises(MessageDecodeError, match="expected Strange, found int"):
        serializer.deserialize(b'{"value":1}')


def test_constraints_beside_a_picture_change_nothing() -> None:
    @dataclass
    class Noted:
        image: Annotated[Image, Field(description="a picture")]

    assert round_trip(Noted(RED)) == Noted(RED)


# Without Pillow


@pytest.fixture
def no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["PIL", *(each for each in sys.modules if each.startswith("PIL."))]:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("no_pillow")
def test_without_pillow_a_picture_says_what_to_install() -> None:
    text = base64.b64encode(b"x").decode()
    for make in (
        lambda: Image.from_base64(text),
        lambda: Image.from_uri(f"data:image/png;base64,{text}"),
        lambda: Album.model_validate({"cover": {"data": text}}),
    ):
        with pytest.raises(ImportError, match=r"PIL, for images, is not .*'trio-agents\[images"):
            make()
    (serializer,) = try_get_known_serializers_for_type(Shot)
    with pytest.raises(MessageDecodeError, match=r"trio-agents\[images"):
        serializer.deserialize(json.dumps({"image": {"data": text}}).encode())


def test_the_type_alone_needs_no_pillow() -> None:
    program = """
        import sys
        from trio_agents import Image
        from trio_agents.models import UserMessage
        UserMessage(content=["x"], source="u").model_dump_json()
        assert "PIL" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)
