"""Views that tear no exchange apart.

When a model has asked for functions, the results have to follow, each with the id of its call.
Providers refuse a conversation with one and not the other. Such an *exchange* is the message with
the calls and all messages with results of theirs; a view has the whole of it or nothing.

Results belong to the last calls before them that have the id: some models count their calls anew
in every answer. Results whose calls were never added belong to nothing and are in no view. Nor are
calls that were never answered, or not all of them: unless they are the last in the conversation,
where whoever has added them may be about to add the results.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..models._messages import AssistantMessage, FunctionExecutionResultMessage, LLMMessage

__all__ = ["exchanges", "whole"]


def exchanges(messages: Sequence[LLMMessage]) -> list[list[int]]:
    """Return what belongs together: the indices of each exchange, and of each other message alone.

    In the order of their first messages. Results without calls are left out, and calls without all
    their results that are not the last.
    """
    groups: list[list[int]] = []
    of_call: dict[str, list[int]] = {}
    open_calls: dict[int, set[str]] = {}  # of a group, by the index of its first message
    for index, message in enumerate(messages):
        if isinstance(message, FunctionExecutionResultMessage):
            for result in message.content:
                if (group := of_call.get(result.call_id)) is not None:
                    group.append(index)
                    open_calls[group[0]] -= {result.call_id for result in message.content}
                    break
            continue
        group = [index]
        groups.append(group)
        if isinstance(message, AssistantMessage) and not isinstance(message.content, str):
            of_call.update((call.id, group) for call in message.content)
            open_calls[index] = {call.id for call in message.content}
    return [group for group in groups if not open_calls.get(group[0]) or group is groups[-1]]


def whole(messages: Sequence[LLMMessage], kept: Collection[int]) -> list[LLMMessage]:
    """Return the messages of which *kept* has the indices; of an exchange all, or nothing.

    Args:
        messages: the whole conversation.
        kept: indices; a range or a set, in any order.
    """
    indices = [
        index
        for group in exchanges(messages)
        if all(index in kept for index in group)
        for index in group
    ]
    return [messages[index] for index in sorted(indices)]
