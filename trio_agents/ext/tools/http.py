"""A tool that asks an HTTP API. For both event loops; needs the extra ``http``."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._http import (
    HttpTool as HttpTool,
    HttpToolConfig as HttpToolConfig,
    HttpToolError as HttpToolError,
)

__all__ = ["HttpTool", "HttpToolConfig", "HttpToolError"]

claim_names(__name__, globals())
