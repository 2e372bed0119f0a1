"""The names of the loggers we write to.

They are AutoGen Core's names, not ours, on purpose: a program that moves here keeps its logging
configuration. The root switches everything on or off; ``events`` carries event objects (see
`trio_agents.logging`) whose content may be relied on; ``trace`` is text for developers, and its
content may change at any time. Emitters use the two names or children of them.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EVENT_LOGGER_NAME", "ROOT_LOGGER_NAME", "TRACE_LOGGER_NAME"]

#: The logger above all of ours: its level and handlers switch everything on or off.
ROOT_LOGGER_NAME: Final = "autogen_core"

#: Structured events: objects as ``record.msg``, for programs; class and content may be relied on.
EVENT_LOGGER_NAME: Final = "autogen_core.events"

#: Text for developers, at level DEBUG; content and form may change at any time.
TRACE_LOGGER_NAME: Final = "autogen_core.trace"
