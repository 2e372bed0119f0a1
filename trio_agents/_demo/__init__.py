"""``trio-agents demo digest``: agents that read documents and write a digest of them.

`_agents` is the module to read first; `_app` opens the runtime around it. What a document says is
worked out by plain functions (`_text`, `_words`, `_analysis`, `_digest`), which know of no agents.
"""
