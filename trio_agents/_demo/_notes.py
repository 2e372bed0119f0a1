"""What a reader keeps of its document, and how that is written down.

The runtime looks into every value of a state, to see that JSON can express it. An analysis has many
hundred, so it is written as JSON here, and is a single text to the runtime.
"""

from __future__ import annotations

import json
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


_converter: Final = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)


def notes_to_state(notes: Notes) -> dict[str, Any]:
    """Write notes as JSON can express them."""
    analysis = json.dumps(
        _converter.unstructure(notes.analysis), ensure_ascii=False, separators=(",", ":")
    )
    return {"fingerprint": _converter.unstructure(notes.fingerprint), "analysis": analysis}


def notes_from_state(state: Mapping[str, Any]) -> Notes:
    """Read notes back.

    Raises:
        Exception: they are no notes.
    """
    return Notes(
        _converter.structure(state["fingerprint"], Fingerprint),
        _converter.structure(json.loads(state["analysis"]), Analysis),
    )
