"""LangChain's tools as tools. For both event loops; needs the extra ``langchain``."""

from __future__ import annotations

from ..._sansio._facade import claim_names
from ._langchain import LangChainToolAdapter as LangChainToolAdapter

__all__ = ["LangChainToolAdapter"]

claim_names(__name__, globals())
