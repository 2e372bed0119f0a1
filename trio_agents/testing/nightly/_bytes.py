"""The rows about bytes and ids: whatever comes, a valid message or the documented error."""

from __future__ import annotations

from typing import Final

from ._bytes_frames import FIELDS, try_fields, try_frames
from ._bytes_ids import try_ids, try_log_lines
from ._bytes_json import LIMITS, RULES, try_documents, try_limits
from ._row import Row

__all__ = ["ROWS"]

FAMILY: Final = "Bytes and load"

ROWS: Final = (
    Row(
        name="frames",
        title="Payloads cut, spliced and with bits turned over, by every serializer",
        family=FAMILY,
        goal=10_000_000,
        unit="frames",
        promise="the message that was asked for, or MessageDecodeError; nothing is run or imported",
        work=try_frames,
        minutes_of_seed=0.1,
        weight=6,
        quick_goal=200_000,
        expects=("dataclass", "attrs", "pydantic"),
    ),
    Row(
        name="json",
        title="JSON with and without faults of its own",
        family=FAMILY,
        goal=1_000_000,
        unit="documents",
        promise="read exactly if valid, refused by the name of the rule if not",
        work=try_documents,
        minutes_of_seed=0.1,
        weight=2,
        quick_goal=20_000,
        expects=("valid", *RULES),
    ),
    Row(
        name="json-fields",
        title="Messages with one value that does not belong there",
        family=FAMILY,
        goal=1_000_000,
        unit="messages",
        promise="refused, with the name of the field and nothing of the value",
        work=try_fields,
        minutes_of_seed=0.1,
        weight=1,
        quick_goal=10_000,
        expects=tuple(FIELDS),
    ),
    Row(
        name="json-limits",
        title="Documents of a megabyte or more that break parsers",
        family=FAMILY,
        goal=7_800,
        unit="documents",
        promise="read or refused, in time and memory that grow with the size and no faster",
        work=try_limits,
        minutes_of_seed=0.1,
        weight=1,
        quick_goal=len(LIMITS),
        expects=tuple(LIMITS),
        alone=True,  # two that fill the memory slow each other down
    ),
    Row(
        name="ids",
        title="Ids, topics, types and subscriptions of any text",
        family=FAMILY,
        goal=10_000_000,
        unit="ids",
        promise="come back exactly, one text for one id, or InvalidIdentifier",
        work=try_ids,
        minutes_of_seed=0.1,
        weight=3,
        quick_goal=100_000,
        expects=("taken", "refused"),
    ),
    Row(
        name="log-lines",
        title="Messages with any text in ids and bodies, all of it logged",
        family=FAMILY,
        goal=100_000,
        unit="messages",
        promise="each record is one printable line",
        work=try_log_lines,
        minutes_of_seed=0.1,
        weight=1,
        quick_goal=500,
        expects=("line",),
    ),
)
