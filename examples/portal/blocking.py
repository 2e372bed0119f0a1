# docs/guides/portal.md: agents that are written in trio, called from synchronous code and threads.

from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Event

import trio

from trio_agents import (
    AgentId,
    CancellationToken,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    open_runtime,
    rpc,
)
from trio_agents.exceptions import MessageCancelled
from trio_agents.portal import PortalClosedError, open_portal

ENGLISH = AgentId("dictionary", "en")


# [agent]
@dataclass(frozen=True)
class Lookup:
    word: str


class Dictionary(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("counts letters")

    @rpc
    async def look_up(self, message: Lookup, ctx: MessageContext) -> str:
        await trio.sleep(0.01)
        return f"{message.word} has {len(message.word)} letters"


# [/agent]
# [call]
def call() -> None:
    with open_portal() as runtime:
        runtime.run(Dictionary.register, "dictionary", Dictionary)
        print(runtime.send_message(Lookup("trio"), ENGLISH))


# [/call]
# [threads]
def call_from_threads() -> None:
    with open_portal() as runtime, ThreadPoolExecutor() as threads:
        runtime.run(Dictionary.register, "dictionary", Dictionary)

        def ask(word: str) -> str:
            return str(runtime.send_message(Lookup(word), ENGLISH))

        for answer in threads.map(ask, ["one", "three", "seven"]):
            print(answer)


# [/threads]
# [run]
async def ask_all(runtime: SingleThreadedAgentRuntime, *words: str) -> list[str]:
    answers: list[str] = []

    async def ask(word: str) -> None:
        answers.append(await runtime.send_message(Lookup(word), ENGLISH))

    async with trio.open_nursery() as nursery:
        for word in words:
            nursery.start_soon(ask, word)
    return sorted(answers)


def run() -> None:
    with open_portal() as runtime:
        runtime.run(Dictionary.register, "dictionary", Dictionary)
        print(runtime.run(ask_all, "four", "five"))


# [/run]
# [factory]
@asynccontextmanager
async def dictionaries() -> AsyncGenerator[SingleThreadedAgentRuntime, None]:
    async with trio.open_nursery() as nursery, open_runtime(max_pending=1000) as runtime:
        nursery.start_soon(trio.sleep_forever)  # an agent's own background work, say
        await Dictionary.register(runtime, "dictionary", Dictionary)
        yield runtime
        nursery.cancel_scope.cancel()


def use_factory() -> None:
    with open_portal(dictionaries) as runtime:
        print(runtime.send_message(Lookup("factory"), ENGLISH))


# [/factory]
# [token]
class Archive(RoutedAgent):
    def __init__(self, searching: Event) -> None:
        super().__init__("takes its time")
        self.searching = searching

    @rpc
    async def search(self, message: Lookup, ctx: MessageContext) -> str:
        self.searching.set()
        try:
            await trio.sleep(3600)
        finally:
            print("archive: tidied up")
        return "found"


def give_up() -> None:
    searching = Event()
    token = CancellationToken()
    with open_portal() as runtime, ThreadPoolExecutor() as threads:
        runtime.run(Archive.register, "archive", lambda: Archive(searching))
        search = threads.submit(
            runtime.send_message,
            Lookup("needle"),
            AgentId("archive", "x"),
            cancellation_token=token,
        )
        searching.wait()
        token.cancel()
        try:
            search.result()
        except MessageCancelled as exc:
            print(f"caller: {exc}")
    try:
        runtime.send_message(Lookup("late"), ENGLISH)
    except PortalClosedError as exc:
        print(f"caller: {exc}")


# [/token]
call()
call_from_threads()
run()
use_factory()
give_up()

# Prints:
# trio has 4 letters
# one has 3 letters
# three has 5 letters
# seven has 5 letters
# ['five has 4 letters', 'four has 4 letters']
# factory has 7 letters
# archive: tidied up
# caller: its CancellationToken was cancelled
# caller: this portal is closed: calls have to be made inside of its block
