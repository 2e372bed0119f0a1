"""``trio-agents migrate``: programs for ``autogen_core`` import `trio_agents.asyncio` instead.

A file is parsed, to know what its imports mean, and then changed as text: each edit replaces one
word ``autogen_core``, and nothing else of the file is written anew. So formatting, comments,
encoding and line endings need no care at all, and the diff shows imports only.

What an edit would not settle for certain is left as it is and becomes a `Finding`, with a sentence
on what to do. Left out: sorting the imports again and wrapping lines that have become long, which
is what formatters are for.
"""
