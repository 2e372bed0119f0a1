# Sessions with a server of the standard library: their lives, and what happens in them.

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import mcp_types
import pytest

from trio_agents import CancellationToken
from trio_agents.ext.tools._mcp_life import Life
from trio_agents.ext.tools.mcp import (
    McpConnectionError,
    McpError,
    McpHost,
    McpProgress,
    McpSession,
    McpTimeoutError,
    StdioServerParams,
    create_mcp_server_session,
)

Tiny = Callable[..., StdioServerParams]


def text(result: mcp_types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, mcp_types.TextContent)
    return block.text


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def pid_of(session: McpSession) -> int:
    return int(text(await session.call_tool("pid")))


# How it starts and stops


# WB-07
async def test_a_block_starts_the_server_and_leaves_no_process(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        pid = await pid_of(session)
        assert is_alive(pid)
    assert not is_alive(pid)


# WB-06
async def test_it_may_be_started_used_and_stopped_by_different_tasks(tiny: Tiny) -> None:
    session = McpSession(tiny())
    async with anyio.create_task_group() as group:
        group.start_soon(session.start)
    pids: list[int] = []

    async def use() -> None:
        pids.append(await pid_of(session))

    async with anyio.create_task_group() as group:
        group.start_soon(use)
    async with anyio.create_task_group() as group:
        group.start_soon(session.stop)
    assert not is_alive(pids[0])


async def test_a_block_may_be_left_by_another_task(tiny: Tiny) -> None:
    session = McpSession(tiny())
    await session.__aenter__()
    pid = await pid_of(session)
    async with anyio.create_task_group() as group:
        group.start_soon(session.__aexit__, None, None, None)
    assert not is_alive(pid)


async def test_a_start_inside_of_a_scope_that_is_cancelled_later_lives_on(tiny: Tiny) -> None:
    session = McpSession(tiny())
    with anyio.CancelScope() as scope:
        await session.start()
        scope.cancel()
    pid = await pid_of(session)
    await session.stop()
    assert not is_alive(pid)


async def test_tasks_that_start_it_together_start_one_server(tiny: Tiny) -> None:
    session = McpSession(tiny())
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(session.start)
    pid = await pid_of(session)
    await session.start()
    assert await pid_of(session) == pid
    await session.stop()


async def test_stopping_what_is_not_started_does_nothing(tiny: Tiny) -> None:
    session = McpSession(tiny())
    await session.stop()
    async with session:
        await session.stop()
        await session.stop()


async def test_it_can_be_started_again(tiny: Tiny) -> None:
    session = McpSession(tiny())
    pids: list[int] = []
    for _ in range(2):
        async with session:
            pids.append(await pid_of(session))
    assert pids[0] != pids[1]


async def test_restart_is_another_process(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        before = await pid_of(session)
        await session.restart()
        assert await pid_of(session) != before
        assert not is_alive(before)


async def test_a_cancelled_start_leaves_nothing_and_may_be_tried_again(
    tiny: Tiny, tmp_path: Path
) -> None:
    params = tiny("--mute", cwd=tmp_path)
    session = McpSession(params)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(session.start)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    params.args.remove("--mute")
    async with session:
        await session.ping()


async def test_who_waits_for_a_start_that_another_task_gives_up_starts_it(tiny: Tiny) -> None:
    session = McpSession(tiny())
    with anyio.CancelScope() as first:
        async with anyio.create_task_group() as group:
            group.start_soon(session.start)
            await anyio.lowlevel.checkpoint()
            async with anyio.create_task_group() as other:
                other.cancel_scope.shield = True
                other.start_soon(session.start)
                await anyio.lowlevel.checkpoint()
                first.cancel()
    await session.ping()
    await session.stop()


async def test_a_stop_during_the_start_ends_it(tiny: Tiny) -> None:
    session = McpSession(tiny("--mute"))
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(McpConnectionError, match="did not start: the session was stopped"):
                await session.start()

        group.start_soon(start)
        await anyio.wait_all_tasks_blocked()
        await session.stop()
    assert repr(session).endswith("not started>")


async def test_a_cancelled_stop_leaves_nothing(tiny: Tiny) -> None:
    session = McpSession(tiny())
    await session.start()
    pid = await pid_of(session)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await session.stop()
    assert not is_alive(pid)


async def test_a_cancelled_block_leaves_nothing(tiny: Tiny) -> None:
    pid = 0
    with anyio.CancelScope() as scope:
        async with McpSession(tiny()) as session:
            pid = await pid_of(session)
            scope.cancel()
            await session.call_tool("hold")
    assert not is_alive(pid)


async def test_a_server_that_will_not_end_is_killed(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.client.stdio.PROCESS_TERMINATION_TIMEOUT", 0.05)
    monkeypatch.setattr("mcp.client.stdio.FORCE_KILL_TIMEOUT", 0.05)
    async with McpSession(tiny("--stubborn")) as session:
        pid = await pid_of(session)
    assert not is_alive(pid)


def test_one_that_is_never_stopped_ends_with_the_run_under_a_warning(
    tiny: Tiny, backend: str
) -> None:
    async def forget() -> int:
        session = McpSession(tiny())
        await session.start()
        return await pid_of(session)

    with pytest.warns(ResourceWarning, match="was started and never stopped: use `async with`"):
        pid = anyio.run(forget, backend=backend)
    assert not is_alive(pid)


def test_an_interrupt_that_hits_the_owner_ends_the_program(tiny: Tiny, backend: str) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    pids: list[int] = []

    async def use() -> None:
        async with McpSession(tiny(), host=McpHost(stderr=interrupt)) as session:
            pids.append(await pid_of(session))
            await session.call_tool("say", {"text": "x"})
            await session.call_tool("hold")

    with pytest.raises(KeyboardInterrupt):
        anyio.run(use, backend=backend)
    assert not is_alive(pids[0])


def test_one_session_may_serve_one_run_after_the_other(tiny: Tiny, backend: str) -> None:
    session = McpSession(tiny())

    async def use() -> None:
        async with session:
            await session.ping()

    anyio.run(use, backend=backend)
    anyio.run(use, backend=backend)


async def test_many_sessions_at_the_same_time_leave_nothing_behind(tiny: Tiny) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(open_and_close, tiny(), 5)


async def open_and_close(params: StdioServerParams, times: int) -> None:
    for _ in range(times):
        async with McpSession(params) as session:
            await session.ping()


async def test_it_says_what_it_is(tiny: Tiny) -> None:
    session = McpSession(tiny())
    assert repr(session).endswith("not started>")
    assert session.initialize_result is None
    async with session:
        assert repr(session).endswith(", started>")
    assert repr(session).endswith("not started>")


# WB-09
async def test_it_tells_what_the_server_says_of_itself(tiny: Tiny) -> None:
    async with create_mcp_server_session(tiny()) as session:
        result = await session.initialize()
        assert (result.server_info.name, result.server_info.version) == ("tiny", "1")
        assert result.capabilities.tools is not None
        assert session.initialize_result is result


# What can go wrong


async def test_a_command_that_is_not_there_is_one_clear_error(backend: str) -> None:
    session = McpSession(StdioServerParams(command="no-such-server"))
    with pytest.raises(McpConnectionError, match="'no-such-server' did not start: FileNotFound"):
        await session.start()


async def test_a_server_that_crashes_at_once_is_quoted(tiny: Tiny) -> None:
    session = McpSession(tiny("--crash"))
    words = r"(?s)did not start.*the configuration is missing"
    with pytest.raises(McpConnectionError, match=words) as e:
        await session.start()
    assert not isinstance(e.value, BaseExceptionGroup)
    with pytest.raises(McpConnectionError, match="is down"):
        await session.list_tools()


async def test_a_server_that_refuses_is_an_error_with_its_words(tiny: Tiny) -> None:
    with pytest.raises(McpError, match="did not start: not today") as info:
        await McpSession(tiny("--refuse")).start()
    assert info.value.code == -32603


async def test_a_server_that_never_answers_is_given_up(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.client.stdio.PROCESS_TERMINATION_TIMEOUT", 0.05)
    session = McpSession(tiny("--mute", read_timeout_seconds=0.2))
    with pytest.raises(McpTimeoutError, match=r"within 0.2 seconds \(read_timeout_seconds"):
        await session.start()


async def test_a_server_that_dies_fails_what_is_asked_and_says_so(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        failures: list[McpConnectionError] = []

        async def hold() -> None:
            with pytest.raises(McpConnectionError) as info:
                await session.call_tool("hold")
            failures.append(info.value)

        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            group.start_soon(hold)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(McpConnectionError, match="last words"):
                await session.call_tool("die")
        assert [str(failure) for failure in failures] == [str(failures[0])] * 2
        assert "is down: it has closed the connection; restart()" in str(failures[0])
        assert "last words" in session.stderr


async def test_one_that_is_killed_fails_a_streamed_call_too(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        pid = await pid_of(session)
        async with aclosing(session.call_tool_stream("hold")) as stream:
            assert isinstance(await anext(stream), McpProgress)
            os.kill(pid, 9)
            with pytest.raises(McpConnectionError, match="is down"):
                await anext(stream)


async def test_after_its_death_calls_say_that_it_is_down_until_it_is_restarted(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        with pytest.raises(McpConnectionError):
            await session.call_tool("die")
        with pytest.raises(McpConnectionError, match=r"tools/list: .* is down"):
            await session.list_tools()
        assert repr(session).endswith(", down>")
        assert session.initialize_result is None
        await session.restart()
        await session.ping()


async def test_after_its_death_start_starts_it_again(tiny: Tiny) -> None:
    session = McpSession(tiny())
    await session.start()
    with pytest.raises(McpConnectionError):
        await session.call_tool("die")
    await session.start()
    await session.ping()
    await session.stop()


async def test_tasks_that_start_it_together_after_its_death_start_one_server(tiny: Tiny) -> None:
    session = McpSession(tiny())
    await session.start()
    with pytest.raises(McpConnectionError):
        await session.call_tool("die")
    pids: list[int] = []

    async def start() -> None:
        await session.start()
        pids.append(await pid_of(session))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(start)
    assert len(set(pids)) == 1
    await session.stop()


@pytest.mark.parametrize("other", ["start", "restart"])
async def test_tasks_that_restart_and_start_it_together_start_one_server(
    tiny: Tiny, other: str
) -> None:
    session = McpSession(tiny())
    await session.start()
    before = await pid_of(session)
    async with anyio.create_task_group() as group:
        group.start_soon(session.restart)
        for _ in range(2):
            group.start_soon(getattr(session, other))
    after = await pid_of(session)
    await session.stop()
    assert after != before
    assert not is_alive(after)


async def test_one_that_closes_its_output_and_lives_on_is_down_and_killed(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.client.stdio.PROCESS_TERMINATION_TIMEOUT", 0.05)
    async with McpSession(tiny()) as session:
        pid = await pid_of(session)
        with pytest.raises(McpConnectionError, match="closing"):
            await session.call_tool("collapse")
    assert not is_alive(pid)


async def test_a_stop_fails_what_is_still_asked(tiny: Tiny) -> None:
    session = McpSession(tiny())
    await session.start()
    async with anyio.create_task_group() as group:

        async def hold() -> None:
            with pytest.raises(McpConnectionError, match="the session was stopped"):
                await session.call_tool("hold")

        group.start_soon(hold)
        await anyio.wait_all_tasks_blocked()
        await session.stop()
    with pytest.raises(McpConnectionError, match="is not started: use `async with`"):
        await session.call_tool("hold")


async def test_an_answer_that_takes_too_long_is_an_error_and_the_session_goes_on(
    tiny: Tiny,
) -> None:
    async with McpSession(tiny(read_timeout_seconds=0.3)) as session:
        with pytest.raises(McpTimeoutError, match=r"did not answer tools/call within 0\.3 seconds"):
            await session.call_tool("hold")
        assert text(await session.call_tool("cancelled")) == "1"


# Servers use the number of the SDK's "connection closed" for errors of their own.
async def test_an_error_of_the_server_is_not_the_end_of_the_connection(tiny: Tiny) -> None:
    error = {"code": -32000, "message": "the database is closed", "data": {"retry": True}}
    async with McpSession(tiny()) as session:
        with pytest.raises(McpError, match=r"^the database is closed$") as info:
            await session.call_tool("answers", {"error": error})
        assert not isinstance(info.value, McpConnectionError)
        assert (info.value.code, info.value.data) == (-32000, {"retry": True})
        await session.ping()


async def test_an_answer_of_another_shape_is_an_error_that_says_so(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        with pytest.raises(McpError, match="answered tools/call with what is no answer"):
            await session.call_tool("answers_garbage")


async def test_all_pages_of_a_list_are_read(tiny: Tiny) -> None:
    async with McpSession(tiny("--pages")) as session:
        names = [tool.name for tool in (await session.list_tools()).tools]
    assert names == sorted(names)
    assert len(names) > 10


async def test_a_list_without_end_is_an_error(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_agents.ext.tools._mcp_session._PAGES", 5)
    async with McpSession(tiny("--endless")) as session:
        with pytest.raises(McpError, match="goes on after 5 pages of tools/list"):
            await session.list_tools()


# Cancellation


async def test_a_cancelled_call_is_cancelled_on_the_server_and_the_session_goes_on(
    tiny: Tiny,
) -> None:
    async with McpSession(tiny()) as session:
        async with anyio.create_task_group() as group:
            group.start_soon(session.call_tool, "hold")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert text(await session.call_tool("cancelled")) == "1"


async def test_a_cancelled_token_cancels_the_call_on_the_server(
    tiny: Tiny, MessageCancelled: type[BaseException]
) -> None:
    token = CancellationToken()

    async def cancel() -> None:
        await anyio.wait_all_tasks_blocked()
        token.cancel()

    async with McpSession(tiny()) as session:
        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            with pytest.raises(MessageCancelled, match="the call of hold was cancelled"):
                await session.call_tool("hold", cancellation_token=token)
        assert text(await session.call_tool("cancelled")) == "1"
        with pytest.raises(MessageCancelled, match="before it began"):
            await session.call_tool("hold", cancellation_token=token)


async def test_a_cancelled_token_cancels_a_streamed_call(
    tiny: Tiny, MessageCancelled: type[BaseException]
) -> None:
    token = CancellationToken()
    async with McpSession(tiny()) as session:
        async with aclosing(session.call_tool_stream("hold", cancellation_token=token)) as stream:
            await anext(stream)
            token.cancel()
            with pytest.raises(MessageCancelled):
                await anext(stream)
        assert text(await session.call_tool("cancelled")) == "1"


async def test_a_streamed_call_that_is_left_early_is_cancelled_on_the_server(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        async with aclosing(session.call_tool_stream("hold")) as stream:
            async for _ in stream:
                break
        assert text(await session.call_tool("cancelled")) == "1"


# The progress that the server still tells is nobody's, and must not reach the SDK as an error.
async def test_a_streamed_call_that_is_left_in_a_burst_of_progress_leaves_the_session_alone(
    tiny: Tiny,
) -> None:
    async with McpSession(tiny()) as session:
        pid = await pid_of(session)
        async with aclosing(session.call_tool_stream("progress", {"count": 1000})) as stream:
            assert await anext(stream) == McpProgress(1, 1000, "step 1")
        assert await pid_of(session) == pid


async def test_a_streamed_call_whose_reader_is_cancelled_in_a_burst_of_progress_does_so_too(
    tiny: Tiny,
) -> None:
    async with McpSession(tiny()) as session:
        pid = await pid_of(session)
        with anyio.CancelScope() as scope:
            async with aclosing(session.call_tool_stream("progress", {"count": 1000})) as stream:
                async for _ in stream:
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
        assert await pid_of(session) == pid


# A shield does not keep off the cancellation of a task itself, so nobody waits for the call's end.
def test_on_asyncio_a_reader_that_is_cancelled_while_it_leaves_does_so_too(tiny: Tiny) -> None:
    async def read(session: McpSession) -> None:
        async with aclosing(session.call_tool_stream("progress", {"count": 1000})) as stream:
            await anext(stream)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    async def use() -> None:
        async with McpSession(tiny()) as session:
            pid = await pid_of(session)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(read(session))
            assert await pid_of(session) == pid

    asyncio.run(use())


async def test_a_streamed_call_whose_reader_is_cancelled_is_cancelled_on_the_server(
    tiny: Tiny,
) -> None:
    async with McpSession(tiny()) as session:
        with anyio.CancelScope() as scope:
            async with aclosing(session.call_tool_stream("hold")) as stream:
                async for _ in stream:
                    scope.cancel()
        assert text(await session.call_tool("cancelled")) == "1"


# Calls


async def test_a_hundred_calls_at_the_same_time_get_their_own_answers(tiny: Tiny) -> None:
    answers: dict[int, Any] = {}

    async def call(number: int) -> None:
        answers[number] = json.loads(text(await session.call_tool("echo", {"n": number})))

    async with McpSession(tiny()) as session:
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(call, number)
    assert answers == {number: {"n": number} for number in range(100)}


async def test_progress_comes_in_order_and_before_the_result(tiny: Tiny) -> None:
    seen: list[McpProgress] = []

    async def note(progress: McpProgress) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(progress)

    async with McpSession(tiny()) as session:
        result = await session.call_tool("progress", {"count": 50}, progress=note)
    assert text(result) == "done"
    assert seen == [McpProgress(n, 50, f"step {n}") for n in range(1, 51)]


async def test_a_callback_for_progress_need_not_be_async(tiny: Tiny) -> None:
    seen: list[McpProgress] = []
    async with McpSession(tiny()) as session:
        await session.call_tool("progress", {"count": 2}, progress=seen.append)
    assert [item.progress for item in seen] == [1, 2]


async def test_a_callback_for_progress_that_fails_fails_the_call_and_cancels_it(
    tiny: Tiny,
) -> None:
    async def fail(progress: McpProgress) -> None:
        raise KeyError("mine")

    async with McpSession(tiny()) as session:
        with pytest.raises(KeyError, match="mine"):
            await session.call_tool("hold", progress=fail)
        assert text(await session.call_tool("cancelled")) == "1"


async def test_a_callback_for_progress_that_fails_in_a_burst_fails_its_own_call_alone(
    tiny: Tiny,
) -> None:
    async def fail(progress: McpProgress) -> None:
        raise KeyError("mine")

    async with McpSession(tiny()) as session:
        pid = await pid_of(session)
        with pytest.raises(KeyError, match="mine"):
            await session.call_tool("progress", {"count": 1000}, progress=fail)
        assert await pid_of(session) == pid


async def test_a_streamed_call_ends_with_its_error(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        with pytest.raises(McpError, match="Unknown tool: nothing"):
            async for _ in session.call_tool_stream("nothing"):
                pytest.fail("it came to something")


# What the server may ask and tell


async def ask(session: McpSession, method: str, **params: Any) -> Any:
    request = {"method": method, "params": params}
    return json.loads(text(await session.call_tool("ask", request)))


SAMPLE: dict[str, Any] = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "6 times 7?"}}],
    "maxTokens": 10,
}
FORM: dict[str, Any] = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}


async def test_sampling_and_elicitation_go_to_the_hooks(tiny: Tiny) -> None:
    async def sample(
        params: mcp_types.CreateMessageRequestParams,
    ) -> mcp_types.CreateMessageResult:
        content = mcp_types.TextContent(text=f"42, in {params.max_tokens}")
        return mcp_types.CreateMessageResult(role="assistant", content=content, model="m")

    async def elicit(params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        return mcp_types.ElicitResult(action="accept", content={"name": params.message})

    async with McpSession(tiny(), host=McpHost(sampling=sample, elicitation=elicit)) as session:
        sampled = await ask(session, "sampling/createMessage", **SAMPLE)
        assert (sampled["content"]["text"], sampled["model"]) == ("42, in 10", "m")
        elicited = await ask(session, "elicitation/create", **FORM)
        assert elicited == {"action": "accept", "content": {"name": "Who?"}}


async def test_roots_are_paths_or_uris(tiny: Tiny, tmp_path: Path) -> None:
    async with McpSession(tiny(), host=McpHost(roots=[tmp_path, "file:///work"])) as session:
        answer = await ask(session, "roots/list")
    assert answer == {"roots": [{"uri": tmp_path.as_uri()}, {"uri": "file:///work"}]}


async def test_what_is_not_offered_is_refused_and_not_announced(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        assert session.initialize_result is not None
        assert session.initialize_result.instructions == "{}"  # the capabilities that it was told
        for method, params in (
            ("sampling/createMessage", SAMPLE),
            ("elicitation/create", FORM),
            ("roots/list", {}),
        ):
            assert "not supported" in (await ask(session, method, **params))["message"]


async def test_a_hook_that_fails_is_an_error_for_the_server_without_its_words(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        raise ValueError("secret")

    async with McpSession(tiny(), host=McpHost(elicitation=fail)) as session:
        answer = await ask(session, "elicitation/create", **FORM)
        assert answer["message"] == "elicitation failed: ValueError"
        await session.ping()
    (record,) = [record for record in caplog.records if record.name == "autogen_core"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


@pytest.mark.parametrize("hook", ["sampling", "elicitation", "log", "notification", "stderr"])
def test_a_hook_that_cannot_be_called_is_refused(hook: str) -> None:
    five: Any = 5
    with pytest.raises(TypeError, match=f"{hook} has to be a function or None, not int"):
        McpHost(**{hook: five})


async def test_a_hook_for_log_messages_gets_them_and_sets_their_level(tiny: Tiny) -> None:
    logged: list[object] = []

    async def log(params: mcp_types.LoggingMessageNotificationParams) -> None:
        logged.append(params.data)

    async with McpSession(tiny(), host=McpHost(log=log, log_level="warning")) as session:
        await session.call_tool("log", {"text": "x"})
        await anyio.wait_all_tasks_blocked()
        assert "level warning" in session.stderr
    assert sorted(map(str, logged)) == ["debug of x", "warning of x"]


async def test_a_hook_for_notifications_hears_that_the_tools_have_changed(tiny: Tiny) -> None:
    heard: list[str] = []

    async def hear(notification: mcp_types.ServerNotification) -> None:
        heard.append(notification.method)

    async with McpSession(tiny(), host=McpHost(notification=hear)) as session:
        await session.call_tool("changed")
        await anyio.wait_all_tasks_blocked()
    assert heard == ["notifications/tools/list_changed"]


async def test_a_hook_for_standard_error_gets_every_line(
    tiny: Tiny, capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    async with McpSession(tiny(), host=McpHost(stderr=lines.append)) as session:
        for number in range(30):
            await session.call_tool("say", {"text": f"line {number}"})
    assert lines == [f"line {number}" for number in range(30)]
    assert capfd.readouterr().err == ""  # it is kept, not spilled


async def test_a_hook_for_standard_error_that_fails_ends_the_session_loudly(tiny: Tiny) -> None:
    def fail(line: str) -> None:
        raise KeyError("mine")

    async with McpSession(tiny(), host=McpHost(stderr=fail)) as session:
        with pytest.raises(McpConnectionError, match="is down: KeyError: 'mine'"):
            await session.call_tool("say", {"text": "x"})
            await session.call_tool("hold")


async def test_only_the_last_lines_of_standard_error_are_kept(tiny: Tiny) -> None:
    async with McpSession(tiny()) as session:
        await session.call_tool("say", {"text": "\n".join(f"line {n}" for n in range(100))})
        await session.call_tool("say", {"text": "x" * 2000})
        await anyio.wait_all_tasks_blocked()
        lines = session.stderr.splitlines()
    assert (len(lines), len(lines[-1])) == (20, 500)
    assert lines[0] == "line 81"


async def test_the_environment_is_handed_on_only_as_told(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "1")
    async with McpSession(tiny(env={"KEY": "sesame"})) as session:
        environment = json.loads(text(await session.call_tool("env")))
    assert environment["KEY"] == "sesame"
    assert "OURS" not in environment
    assert sys.platform == "win32" or "PATH" in environment


async def test_a_start_that_is_cancelled_at_its_very_end_leaves_nothing(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = anyio.CancelScope()
    settle = Life._settle

    async def settle_and_cancel(life: Life, client: Any) -> None:
        await settle(life, client)
        scope.cancel()  # the session is ready before the one who waits for it runs

    monkeypatch.setattr(Life, "_settle", settle_and_cancel)
    session = McpSession(tiny())
    with scope:
        async with session:
            raise AssertionError("it was cancelled")
    assert "not started" in repr(session) or "down" in repr(session)
    assert session.initialize_result is None
    monkeypatch.undo()
    async with session:
        await session.ping()
