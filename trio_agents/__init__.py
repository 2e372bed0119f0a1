"""An agent runtime for Python on structured concurrency: the facade for trio applications.

Agents are addressed by type and key. They are *sent* messages, which are calls with a reply, or
hear messages *published* to topics they subscribe to. The runtime makes agents on demand, runs
their handlers in its nursery, saves and restores their state, and shows every message to
intervention handlers, logs and traces.

All names here are AutoGen Core's where the idea is the same. `open_runtime`, `RuntimeStatistics`,
`DeadLetter` and the exceptions that `trio_agents.exceptions` has more are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._agents._agent_proxy import AgentProxy as AgentProxy
from ._agents._base_agent import BaseAgent as BaseAgent
from ._agents._class_subscriptions import (
    default_subscription as default_subscription,
    subscription_factory as subscription_factory,
    type_subscription as type_subscription,
)
from ._agents._closure_agent import ClosureAgent as ClosureAgent, ClosureContext as ClosureContext
from ._agents._routed_agent import RoutedAgent as RoutedAgent
from ._components import COMPONENT_NAMES
from ._sansio._abc import (
    Agent as Agent,
    AgentRuntime as AgentRuntime,
    Subscription as Subscription,
)
from ._sansio._cancellation import CancellationToken as CancellationToken
from ._sansio._contexts import (
    AgentInstantiationContext as AgentInstantiationContext,
    MessageContext as MessageContext,
    MessageHandlerContext as MessageHandlerContext,
    SubscriptionInstantiationContext as SubscriptionInstantiationContext,
)
from ._sansio._dispatch import (
    event as event,
    message_handler as message_handler,
    rpc as rpc,
)
from ._sansio._facade import claim_names, names_on_demand
from ._sansio._function_call import FunctionCall as FunctionCall
from ._sansio._genai_spans import (
    trace_create_agent_span as trace_create_agent_span,
    trace_invoke_agent_span as trace_invoke_agent_span,
    trace_tool_span as trace_tool_span,
)
from ._sansio._identifiers import (
    AgentId as AgentId,
    AgentMetadata as AgentMetadata,
    AgentType as AgentType,
    TopicId as TopicId,
)
from ._sansio._intervention import (
    DefaultInterventionHandler as DefaultInterventionHandler,
    DropMessage as DropMessage,
    InterventionHandler as InterventionHandler,
)
from ._sansio._log_names import (
    EVENT_LOGGER_NAME as EVENT_LOGGER_NAME,
    ROOT_LOGGER_NAME as ROOT_LOGGER_NAME,
    TRACE_LOGGER_NAME as TRACE_LOGGER_NAME,
)
from ._sansio._options import AgentOptions as AgentOptions
from ._sansio._serialization import (
    SerializationRegistry as SerializationRegistry,
    UnknownPayload as UnknownPayload,
)
from ._sansio._serializers import (
    JSON_DATA_CONTENT_TYPE as JSON_DATA_CONTENT_TYPE,
    PROTOBUF_DATA_CONTENT_TYPE as PROTOBUF_DATA_CONTENT_TYPE,
    MessageSerializer as MessageSerializer,
    try_get_known_serializers_for_type as try_get_known_serializers_for_type,
)
from ._sansio._state_file import (
    read_state_file as read_state_file,
    write_state_file as write_state_file,
)
from ._sansio._state_file_values import StateFile as StateFile
from ._sansio._subscriptions import (
    DefaultSubscription as DefaultSubscription,
    DefaultTopicId as DefaultTopicId,
    TypePrefixSubscription as TypePrefixSubscription,
    TypeSubscription as TypeSubscription,
)
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from ._components._cache_store import (
        CacheStore as CacheStore,
        InMemoryStore as InMemoryStore,
    )
    from ._components._component import (
        Component as Component,
        ComponentBase as ComponentBase,
        ComponentFromConfig as ComponentFromConfig,
        ComponentLoader as ComponentLoader,
        ComponentSchemaType as ComponentSchemaType,
        ComponentToConfig as ComponentToConfig,
        is_component_class as is_component_class,
        is_component_instance as is_component_instance,
    )
    from ._components._component_model import (
        ComponentModel as ComponentModel,
        ComponentType as ComponentType,
    )
    from ._components._image import (
        Image as Image,
    )
    from ._components._policy import (
        ComponentPolicy as ComponentPolicy,
        check_code_is_allowed as check_code_is_allowed,
        current_component_policy as current_component_policy,
        use_component_policy as use_component_policy,
    )
    from ._core._ledger import DeadLetter as DeadLetter, RuntimeStatistics as RuntimeStatistics
    from ._loops._state_files import (
        load_state_file as load_state_file,
        save_state_file as save_state_file,
    )
    from ._loops._trio_runtime import (
        SingleThreadedAgentRuntime as SingleThreadedAgentRuntime,
        open_runtime as open_runtime,
    )

__all__ = [
    "EVENT_LOGGER_NAME",
    "JSON_DATA_CONTENT_TYPE",
    "PROTOBUF_DATA_CONTENT_TYPE",
    "ROOT_LOGGER_NAME",
    "TRACE_LOGGER_NAME",
    "Agent",
    "AgentId",
    "AgentInstantiationContext",
    "AgentMetadata",
    "AgentOptions",
    "AgentProxy",
    "AgentRuntime",
    "AgentType",
    "BaseAgent",
    "CacheStore",
    "CancellationToken",
    "ClosureAgent",
    "ClosureContext",
    "Component",
    "ComponentBase",
    "ComponentFromConfig",
    "ComponentLoader",
    "ComponentModel",
    "ComponentPolicy",
    "ComponentSchemaType",
    "ComponentToConfig",
    "ComponentType",
    "DeadLetter",
    "DefaultInterventionHandler",
    "DefaultSubscription",
    "DefaultTopicId",
    "DropMessage",
    "FunctionCall",
    "Image",
    "InMemoryStore",
    "InterventionHandler",
    "MessageContext",
    "MessageHandlerContext",
    "MessageSerializer",
    "RoutedAgent",
    "RuntimeStatistics",
    "SerializationRegistry",
    "SingleThreadedAgentRuntime",
    "StateFile",
    "Subscription",
    "SubscriptionInstantiationContext",
    "TopicId",
    "TypePrefixSubscription",
    "TypeSubscription",
    "UnknownPayload",
    "check_code_is_allowed",
    "current_component_policy",
    "default_subscription",
    "event",
    "is_component_class",
    "is_component_instance",
    "load_state_file",
    "message_handler",
    "open_runtime",
    "read_state_file",
    "rpc",
    "save_state_file",
    "subscription_factory",
    "trace_create_agent_span",
    "trace_invoke_agent_span",
    "trace_tool_span",
    "try_get_known_serializers_for_type",
    "type_subscription",
    "use_component_policy",
    "write_state_file",
]

claim_names(__name__, globals())

# Components need pydantic, and a program without any does not wait for that. The runtime needs
# trio: a module of messages and agents does not, and asyncio's runtime has no use for it.
__getattr__, __dir__ = names_on_demand(
    __name__,
    globals(),
    {
        **COMPONENT_NAMES,
        "DeadLetter": "trio_agents._core._ledger",
        "RuntimeStatistics": "trio_agents._core._ledger",
        "SingleThreadedAgentRuntime": "trio_agents._loops._trio_runtime",
        "load_state_file": "trio_agents._loops._state_files",
        "open_runtime": "trio_agents._loops._trio_runtime",
        "save_state_file": "trio_agents._loops._state_files",
    },
)
