"""`McpHost`: what an MCP server may ask of its client, and tell it.

A server is not only asked. It may want a model to go on with a text (sampling), a person to fill in
a form (elicitation), or to know which directories it may work in (roots); and it says things nobody
asked for: log messages, that its tools have changed, lines on its standard error. Each is a field
here. What is None is not offered: the server is told so when the session starts.

Hooks run in the session's own task, several at a time, outside of the call that may have caused
them. What a hook raises is an answer too: the server is told that it failed, and of what type the
error was, but not more. The error itself is logged with its traceback.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast, final

import anyio.lowlevel
import attrs
from pydantic import FileUrl

from ..._components._image import Image
from ..._sansio._log_names import ROOT_LOGGER_NAME
from ...models._client import ChatCompletionClient
from ...models._messages import AssistantMessage, LLMMessage, SystemMessage, UserMessage

if TYPE_CHECKING:
    import mcp_types

    Sampled: TypeAlias = mcp_types.CreateMessageResult | mcp_types.ErrorData
    Elicited: TypeAlias = mcp_types.ElicitResult | mcp_types.ErrorData
    SamplingHook: TypeAlias = Callable[
        [mcp_types.CreateMessageRequestParams], Awaitable[Sampled] | Sampled
    ]
    ElicitationHook: TypeAlias = Callable[
        [mcp_types.ElicitRequestParams], Awaitable[Elicited] | Elicited
    ]

__all__ = ["McpHost", "sampling_with"]

ParamsT = TypeVar("ParamsT")
AnswerT = TypeVar("AnswerT")

logger = logging.getLogger(ROOT_LOGGER_NAME)


def _check_hook(_: object, attribute: attrs.Attribute[Any], hook: object) -> None:
    if hook is not None and not callable(hook):
        raise TypeError(f"{attribute.name} has to be a function or None, not {type(hook).__name__}")


@final
@attrs.frozen(kw_only=True)
class McpHost:
    """What a session offers to its server: hooks, each of which may be left out.

    A hook that has nothing to wait for need not be async; it is called in the loop's thread.

    ::

        async def ask_the_user(params: ElicitRequestParams) -> ElicitResult:
            return ElicitResult(action="accept", content=await my_form(params.message))

        McpWorkbench(server_params, host=McpHost(elicitation=ask_the_user, roots=["/work"]))

    Attributes:
        sampling: Has a model go on with a conversation of the server's; `sampling_with` makes one
            of a model client. An ``ErrorData`` refuses.
        elicitation: Asks a person for what the server wants to know; ``ElicitResult`` may decline.
        roots: The directories, as paths or ``file:`` URIs, that the server may take for its own.
        log: Gets the server's log messages.
        log_level: The least level of those that the server is asked for.
        notification: Gets whatever else the server tells: that its tools, resources or prompts have
            changed, and the log messages again.
        stderr: Gets each line that a server of ours writes to its standard error. Never async.

    Raises:
        TypeError: a hook cannot be called.
    """

    sampling: SamplingHook | None = attrs.field(default=None, validator=_check_hook)
    elicitation: ElicitationHook | None = attrs.field(default=None, validator=_check_hook)
    roots: Sequence[str | Path] | None = None
    log: Callable[[mcp_types.LoggingMessageNotificationParams], Awaitable[None] | object] | None = (
        attrs.field(default=None, validator=_check_hook)
    )
    log_level: Literal[
        "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"
    ] = "info"
    notification: Callable[[mcp_types.ServerNotification], Awaitable[None] | object] | None = (
        attrs.field(default=None, validator=_check_hook)
    )
    stderr: Callable[[str], object] | None = attrs.field(default=None, validator=_check_hook)

    def mode(self) -> Literal["auto", "legacy"]:
        """Return how the SDK's client is to agree on a version of the protocol.

        By those since 2026 a server can neither ask nor tell anything but in its answers, and most
        servers do it in the older way. All of them still agree to one of the older versions.
        """
        hooks = (self.sampling, self.elicitation, self.roots, self.notification)
        return "auto" if all(hook is None for hook in hooks) else "legacy"

    def callbacks(self) -> dict[str, Any]:
        """Return the SDK's callbacks for these hooks."""
        import mcp_types

        callbacks: dict[str, Any] = {}
        if self.sampling is not None:
            callbacks["sampling_callback"] = _answering(self.sampling, "sampling")
        if self.elicitation is not None:
            callbacks["elicitation_callback"] = _answering(self.elicitation, "elicitation")
        if self.roots is not None:
            roots = [mcp_types.Root(uri=_uri(root)) for root in self.roots]

            async def list_roots(context: object) -> mcp_types.ListRootsResult:
                await anyio.lowlevel.checkpoint()
                return mcp_types.ListRootsResult(roots=roots)

            callbacks["list_roots_callback"] = list_roots
        if self.log is not None:
            log = self.log

            async def hear(params: mcp_types.LoggingMessageNotificationParams) -> None:
                await _called(log, params)

            callbacks |= {"logging_callback": hear, "log_level": self.log_level}
        if self.notification is not None:
            callbacks["message_handler"] = _notified(self.notification)
        return callbacks


async def _called(
    hook: Callable[[ParamsT], Awaitable[AnswerT] | AnswerT], params: ParamsT
) -> AnswerT:
    answer = hook(params)
    if inspect.isawaitable(answer):
        return await cast("Awaitable[AnswerT]", answer)
    return answer


def _answering(
    hook: Callable[[ParamsT], Awaitable[AnswerT] | AnswerT], what: str
) -> Callable[[object, ParamsT], Awaitable[AnswerT | mcp_types.ErrorData]]:
    async def answer(context: object, params: ParamsT) -> AnswerT | mcp_types.ErrorData:
        import mcp_types

        try:
            return await _called(hook, params)
        except Exception as error:
            # The SDK would send the server its text, which is none of the server's business.
            logger.exception("the hook for %s failed; the MCP server is told so", what)
            return mcp_types.ErrorData(
                code=mcp_types.INTERNAL_ERROR, message=f"{what} failed: {type(error).__name__}"
            )

    return answer


def _notified(
    hook: Callable[[mcp_types.ServerNotification], Awaitable[None] | object],
) -> Callable[[mcp_types.ServerNotification | Exception], Awaitable[None]]:
    async def handle(message: mcp_types.ServerNotification | Exception) -> None:
        if not isinstance(message, Exception):  # a fault of the transport ends the session anyway
            await _called(hook, message)

    return handle


def _uri(root: str | Path) -> FileUrl:
    if isinstance(root, str) and root.startswith("file:"):
        return FileUrl(root)
    return FileUrl(Path(root).absolute().as_uri())


def sampling_with(client: ChatCompletionClient) -> SamplingHook:
    """Make a hook for sampling of a model client: it goes on with the server's conversation.

    The server chooses the text, the most tokens and the temperature, and *client* pays for it:
    offer this to servers that you trust with that. Requests with tools are refused.
    """

    async def sample(
        params: mcp_types.CreateMessageRequestParams,
    ) -> mcp_types.CreateMessageResult | mcp_types.ErrorData:
        import mcp_types

        if params.tools:
            return mcp_types.ErrorData(
                code=mcp_types.INVALID_PARAMS, message="sampling with tools is not offered"
            )
        try:
            messages = _conversation(params)
        except ValueError as error:
            return mcp_types.ErrorData(code=mcp_types.INVALID_PARAMS, message=str(error))
        extra: dict[str, Any] = {"max_tokens": params.max_tokens}
        if params.temperature is not None:
            extra["temperature"] = params.temperature
        if params.stop_sequences:
            extra["stop"] = params.stop_sequences
        result = await client.create(messages, extra_create_args=extra)
        if not isinstance(result.content, str):
            return mcp_types.ErrorData(
                code=mcp_types.INTERNAL_ERROR, message="the model asked for functions, not for text"
            )
        return mcp_types.CreateMessageResult(
            role="assistant",
            content=mcp_types.TextContent(type="text", text=result.content),
            model=client.model_info["family"],
            stop_reason="maxTokens" if result.finish_reason == "length" else "endTurn",
        )

    return sample


def _conversation(params: mcp_types.CreateMessageRequestParams) -> list[LLMMessage]:
    messages: list[LLMMessage] = []
    if params.system_prompt:
        messages.append(SystemMessage(content=params.system_prompt))
    for message in params.messages:
        parts: list[str | Image] = []
        for block in message.content_as_list:
            if block.type == "text":
                parts.append(block.text)
            elif block.type == "image" and message.role == "user":
                parts.append(Image.from_base64(block.data))
            else:
                raise ValueError(f"sampling from {block.type} by the {message.role} is not offered")
        texts = [part for part in parts if isinstance(part, str)]
        content = "\n".join(texts) if len(texts) == len(parts) else parts
        if message.role == "user":
            messages.append(UserMessage(content=content, source="user"))
        else:
            messages.append(AssistantMessage(content="\n".join(texts), source="assistant"))
    return messages
