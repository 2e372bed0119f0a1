"""An agent of another framework, wrapped: a thin agent holds it and translates.

The message becomes the other side's call, and its answer becomes a message again. The handler's
cancellation token becomes whatever the other side has for that: here it blocks in a thread, which
no cancel scope can interrupt, and looks at an event.
"""

# Rows: CON-14, CON-03, CT-06, CX-11

import threading
from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    AgentRuntime,
    CancellationToken,
    MessageContext,
    RoutedAgent,
    open_runtime,
    rpc,
)
from trio_agents.exceptions import MessageCancelled

TRANSLATOR = AgentId("translator", "default")
WORDS = {"good": "gut", "morning": "Morgen"}


class Translator:
    """It stands for the other framework's agent: it knows nothing of runtimes, trio or tokens."""

    def translate(self, text: str, abort: threading.Event) -> str:
        if text not in WORDS:
            abort.wait(timeout=60)  # it asks around
        return WORDS.get(text, "(aborted)")


@dataclass
class Word:
    text: str


class TranslatorAgent(RoutedAgent):
    def __init__(self, delegate: Translator) -> None:
        super().__init__("translates into German")
        self._delegate = delegate

    @rpc
    async def translate(self, message: Word, ctx: MessageContext) -> Word:
        abort = threading.Event()
        ctx.cancellation_token.add_callback(abort.set)
        text = await trio.to_thread.run_sync(self._delegate.translate, message.text, abort)
        print(f"the translator said: {text}")
        await trio.lowlevel.checkpoint_if_cancelled()  # the thread could not be, we can
        return Word(text)


async def ask_for_too_much(runtime: AgentRuntime, token: CancellationToken) -> None:
    try:
        await runtime.send_message(Word("x"), TRANSLATOR, cancellation_token=token)
    except MessageCancelled as error:
        print(f"cancelled: {error}")


async def main() -> None:
    delegate = Translator()  # made by us, not by the runtime
    async with open_runtime() as runtime:
        await TranslatorAgent.register(runtime, "translator", lambda: TranslatorAgent(delegate))
        answer = await runtime.send_message(Word("good"), TRANSLATOR)
        print(answer)
        token = CancellationToken()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_for_too_much, runtime, token)
            await trio.sleep(0.05)
            token.cancel()


trio.run(main)

# Prints:
# the translator said: gut
# Word(text='gut')
# the translator said: (aborted)
# cancelled: its CancellationToken was cancelled
