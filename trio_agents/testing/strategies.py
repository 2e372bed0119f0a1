"""Hypothesis strategies for what agents and runtimes are given: ids, messages, hostile text.

Each says what it generates and what it never does. It needs hypothesis, which comes with the extra
``testing``::

    @given(agent_ids())
    def test_an_id_survives_its_text(id: AgentId) -> None:
        assert AgentId.from_str(str(id)) == id
"""

from __future__ import annotations

from .._components._extras import from_extra
from .._sansio._facade import claim_names

with from_extra("hypothesis", "testing", purpose=__name__):
    from ._hostile_strategies import (
        hostile_json as hostile_json,
        hostile_keys as hostile_keys,
        hostile_text as hostile_text,
    )
    from ._id_strategies import (
        agent_ids as agent_ids,
        agent_keys as agent_keys,
        agent_types as agent_types,
        subscriptions as subscriptions,
        topic_ids as topic_ids,
        topic_types as topic_types,
        topics_and_subscriptions as topics_and_subscriptions,
    )
    from ._message_strategies import (
        MessageKind as MessageKind,
        json_values as json_values,
        messages as messages,
    )

__all__ = [
    "MessageKind",
    "agent_ids",
    "agent_keys",
    "agent_types",
    "hostile_json",
    "hostile_keys",
    "hostile_text",
    "json_values",
    "messages",
    "subscriptions",
    "topic_ids",
    "topic_types",
    "topics_and_subscriptions",
]

claim_names(__name__, globals())
