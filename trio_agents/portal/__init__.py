"""A trio runtime in a thread of its own, for synchronous code, other threads and asyncio callers.

`open_portal` is the way in. The agents run on trio, whatever their callers run on.
"""

from __future__ import annotations

from ._awaitable import AwaitableRuntime as AwaitableRuntime
from ._blocking import BlockingRuntime as BlockingRuntime
from ._errors import PortalClosedError as PortalClosedError
from ._open import Portal as Portal, open_portal as open_portal

__all__ = [
    "AwaitableRuntime",
    "BlockingRuntime",
    "Portal",
    "PortalClosedError",
    "open_portal",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
