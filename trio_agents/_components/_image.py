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
from ._extras import import_extra

if TYPE_CHECKING:
    from PIL import Image as PIL_Image

__all__ = ["Image"]

# Not all that PIL knows: what comes in a message must not start Ghostscript, say.
_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO")
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

    def _repr_png_(self) -> bytes:
        """Show the picture in a notebook."""
        return self._png()

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
        """Read a picture from the base64 of a PNG, JPEG, GIF, WebP, BMP, TIFF, PPM or ICO file.

        For other kinds, open the file with PIL and see `from_pil`.

        Raises:
            ValueError: it is no base64, no such picture, or one of more than PIL's
                ``MAX_IMAGE_PIXELS``.
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
            ValueError: as for `from_base64`.
        """
        with Path(file_path).open("rb") as file:
            return cls(_open(file, str(file_path)))

    def to_base64(self) -> str:
        """Return the picture as the base64 of a PNG."""
        return base64.b64encode(self._png()).decode("ascii")

    def _png(self) -> bytes:
        buffer = io.BytesIO()
        self.image.save(buffer, format="PNG")
        return buffer.getvalue()

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
            {"data": core_schema.typed_dict_field(core_schema.str_schema())},
            extra_behavior="forbid",
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
    return import_extra("PIL.Image", "images", purpose="images")


def _open(file: Any, what: str) -> PIL_Image.Image:
    pil = _pil()
    try:
        image: PIL_Image.Image = pil.open(file, formats=_FORMATS)
        # PIL itself refuses twice as many. Decoding is what takes the memory.
        if pil.MAX_IMAGE_PIXELS is not None and image.width * image.height > pil.MAX_IMAGE_PIXELS:
            problem = f"has more than {pil.MAX_IMAGE_PIXELS} pixels"
        else:
            image.load()
            return image
    # PIL's plugins raise what they like: SyntaxError, struct.error, DecompressionBombError.
    except Exception as error:
        problem = f"is no {', '.join(_FORMATS)} that PIL can read ({type(error).__name__})"
    raise ValueError(f"{what} {problem}")


claim_names("trio_agents", globals())
