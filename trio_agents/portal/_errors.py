"""What a portal raises on its own account."""

from __future__ import annotations

from .._sansio._errors import UndeliverableException

__all__ = ["PortalClosedError"]


class PortalClosedError(UndeliverableException, RuntimeError):
    """The call was made after the portal's block, or was still under way when the block ended."""
