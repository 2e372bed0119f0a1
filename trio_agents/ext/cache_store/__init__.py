"""Cache stores, each with an extra of its name.

Both keep JSON text. Nothing is pickled, so that whoever can write to the disk or the server can
spoil an entry, and run nothing. JSON comes back as it went in, and a pydantic model as the JSON of
its fields: whoever asks knows which model it was. What a store finds and cannot read, because it is
damaged or somebody else's, is not there, and the next value for its key takes its place.

A store is asked at once and blocks for as long as the disk or the server takes. Where that matters,
ask it in a worker thread.
"""

from __future__ import annotations

__all__: list[str] = []
