"""Who sent what to whom, as lines of text and as a Mermaid sequence diagram.

Documents are read at the same time, so the order of all messages is another one in each run. What
is told here is not: first each document's messages, in the order of the names, then the others.
Those of one document have an order that cannot be otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from trio_agents import AgentId, TopicId

from ._messages import counted
from ._shelf import name_in_source
from ._watching import Exchange

__all__ = ["as_mermaid", "as_text"]

DRAWN_DOCUMENTS: Final = 10
DRAWN_OTHERS: Final = 50
_ARROWS: Final = {"publishes": "-)", "asks": "->>", "answers": "-->>"}


def as_text(exchanges: Sequence[Exchange]) -> str:
    """Give one line for each message: ``who -> whom: what``."""
    return "".join(
        f"{_name(one.sender)} -> {_name(one.recipient)}: {one.verb} {one.what}\n"
        for one in in_order(exchanges)
    )


def as_mermaid(exchanges: Sequence[Exchange]) -> str:
    """Give a sequence diagram. Of many documents it shows the first, and says how many more."""
    drawn: list[Exchange] = []
    documents = 0
    others: list[Exchange] = []
    for about, group in groupby(in_order(exchanges), key=lambda one: one.about):
        if about is None:
            others += group
        else:
            documents += 1
            if documents <= DRAWN_DOCUMENTS:
                drawn += group
    participants = {
        who: f"p{number}"
        for number, who in enumerate(
            dict.fromkeys(
                who
                for one in [*drawn, *others[:DRAWN_OTHERS]]
                for who in (one.sender, one.recipient)
            )
        )
    }
    lines = ["sequenceDiagram"]
    lines += [f"participant {id} as {_escape(_name(who))}" for who, id in participants.items()]
    lines += [_arrow(one, participants) for one in drawn]
    if documents > DRAWN_DOCUMENTS:
        rest = counted(documents - DRAWN_DOCUMENTS, "more document")
        lines.append(_note(f"{rest}, not drawn", participants))
    lines += [_arrow(one, participants) for one in others[:DRAWN_OTHERS]]
    if len(others) > DRAWN_OTHERS:
        rest = counted(len(others) - DRAWN_OTHERS, "more message")
        lines.append(_note(f"{rest}, not drawn", participants))
    return "\n    ".join(lines) + "\n"


def in_order(exchanges: Sequence[Exchange]) -> list[Exchange]:
    """Sort by document; those about none come last. The sort keeps the order within each."""
    return sorted(exchanges, key=lambda one: (one.about is None, one.about or ""))


def _name(who: AgentId | TopicId | None) -> str:
    if who is None:
        return "application"
    if isinstance(who, TopicId):
        return f"topic {who.type}"
    return who.type if who.key == "default" else f"{who.type} {name_in_source(who.key)}"


Participants = dict[AgentId | TopicId | None, str]


def _arrow(one: Exchange, participants: Participants) -> str:
    arrow = f"{participants[one.sender]}{_ARROWS[one.verb]}{participants[one.recipient]}"
    return f"{arrow}: {_escape(one.what, plain=',:?!')}"


def _note(text: str, participants: Participants) -> str:
    return f"Note over {next(iter(participants.values()))}: {_escape(text)}"


def _escape(text: str, plain: str = "") -> str:
    """Write *text* so that Mermaid takes nothing in it for a sign of its own."""
    shown = text if len(text) <= 120 else f"{text[:119]}…"
    coded = "".join(
        one if one.isalnum() or one in " ()/._-…" or one in plain else f"#{ord(one)};"
        for one in shown
    )
    # Mermaid takes the word "end" for the end of a block, wherever it stands.
    return coded.replace("end", "e#110;d").replace("End", "E#110;d").replace("END", "E#78;D")
