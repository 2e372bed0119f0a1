"""What a reader keeps of its document, and how that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cattrs

from ._analysis import Analysis
from ._reading import Fingerprint

__all__ = ["Notes", "notes_from_state", "notes_to_state"]


@dataclass(frozen=True, slots=True)
class Notes:
    """What was read, and what was found in it."""

    fingerprint: Fingerprint
    analysis: Analysis


_converter: Final = cattrs.Converter(
    forbid_extra_keys=True,
    unstruct_collection_overrides={tuple: list},  # JSON has no tuples
)


def notes_to_state(notes: Notes) -> dict[str, Any]:
    """Write notes as JSON can express them."""
    state: dict[str, Any] = _converter.unstructure(notes)
    return state


def notes_from_state(state: Mapping[str, Any]) -> Notes:
    """Read notes back.

    Raises:
        Exception: they are no notes.
    """
    return _converter.structure(state, Notes)
