"""`Image`: a picture inside of a message.

It wraps an image of PIL's, which is imported when a picture is there: the type alone, as in a field
``list[str | Image]``, costs nothing. In JSON it is ``{"data": <base64 of a PNG>}``.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from .._sansio._facade import claim_names

if TYPE_CHECKING:
    from PIL import Image as PIL_Image

__all__ = ["Image"]

_DATA_URI: Final = re.compile(r"data:image/[\w.+-]+;base64,(?P<data>[A-Za-z0-9+/=\s]*)", re.ASCII)


class Image:
    """A picture, to be sent to models and in messages.

    A field of a pydantic model, an attrs class or a dataclass may be one, also in a union such as
    ``str | Image``. Needs the extra ``images`` (Pillow).

    Attributes:
        image: PIL's image.
    """

    def __init__(self, image: PIL_Image.Image) -> None:
        """Wrap *image*, as RGB.

        Raises:
            TypeError: *image* is none of PIL's.
        """
        if not isinstance(image, _pil().Image):
            raise TypeError(
                f"expected a PIL image, not {type(image).__name__}: see from_file, from_base64 "
                f"and from_uri"
            )
        self.image: PIL_Image.Image = image.convert("RGB")

    def __repr__(self) -> str:
        return f"<Image {self.image.width}x{self.image.height}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        mine, theirs = self.image, other.image
        return mine.size == theirs.size and mine.tobytes() == theirs.tobytes()

    __hash__ = None  # type: ignore[assignment]  # a picture can be drawn on

    @classmethod
    def from_pil(cls, pil_image: PIL_Image.Image) -> Image:
        """Wrap an image of PIL's."""
        return cls(pil_image)

    @classmethod
    def from_uri(cls, uri: str) -> Image:
        """Read a picture from a data URI, as in ``data:image/png;base64,...``.

        Raises:
            ValueError: it is no such URI. Addresses in a network are not read: fetch the bytes
                with a client of your choice, and see `from_pil`.
        """
        found = _DATA_URI.fullmatch(uri)
        if found is None:
            raise ValueError(
                f"expected data:image/<kind>;base64,<data>, not {uri.partition(',')[0][:60]!r}"
            )
        return cls.from_base64(found["data"])

    @classmethod
    def from_base64(cls, base64_str: str) -> Image:
        """Read a picture from the base64 of an image file of any kind that PIL knows.

        Raises:
            ValueError: it is no base64, or no picture.
        """
        try:
            content = base64.b64decode("".join(base64_str.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"an image must be base64: {error}") from None
        return cls(_open(io.BytesIO(content), "the decoded base64"))

    @classmethod
    def from_file(cls, file_path: Path) -> Image:
        """Read a picture from a file. It blocks: use a thread where that matters.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no picture.
        """
        with Path(file_path).open("rb") as file:
            return cls(_open(file, str(file_path)))

    def to_base64(self) -> str:
        """Return the picture as the base64 of a PNG."""
        buffer = io.BytesIO()
        self.image.save(buffer, format="PNG")
        return base64.b64encode(buffer.getvalue()).decode("ascii")

    @property
    def data_uri(self) -> str:
        """The picture as a data URI of a PNG."""
        return f"data:image/png;base64,{self.to_base64()}"

    def to_openai_format(self, detail: Literal["auto", "low", "high"] = "auto") -> dict[str, Any]:
        """Return the picture as a part of a message's content, as OpenAI's API takes it.

        Args:
            detail: how closely the model is to look.
        """
        return {"type": "image_url", "image_url": {"url": self.data_uri, "detail": detail}}

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source_type: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Say how pydantic reads and writes a picture."""
        data = core_schema.typed_dict_schema(
            {"data": core_schema.typed_dict_field(core_schema.str_schema())}
        )
        from_data = core_schema.no_info_after_validator_function(
            lambda value: cls.from_base64(value["data"]), data
        )
        return core_schema.json_or_python_schema(
            json_schema=from_data,
            python_schema=core_schema.union_schema(
                [core_schema.is_instance_schema(cls), from_data]
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda image: {"data": image.to_base64()}
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe a picture in JSON."""
        return {
            "type": "object",
            "properties": {"data": {"type": "string", "format": "base64"}},
            "required": ["data"],
        }


def _pil() -> Any:
    try:
        from PIL import Image as pil_image
    except ImportError as error:
        raise ImportError(
            "images need Pillow: pip install 'trio-agents[images]'", name=error.name
        ) from error
    return pil_image


def _open(file: Any, what: str) -> PIL_Image.Image:
    try:
        image: PIL_Image.Image = _pil().open(file)
        image.load()
    # PIL's plugins raise what they like: SyntaxError, struct.error, DecompressionBombError.
    except Exception as error:
        raise ValueError(f"{what} is no picture that PIL knows ({type(error).__name__})") from None
    return image


claim_names("trio_agents", globals())
