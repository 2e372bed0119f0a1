"""A worker answers a request, and tells how far it is to whoever watches that piece of work.

Progress goes to a topic whose source is the id of the work, so each piece of work has a monitor of
its own, made with the first event. The worker knows nothing of monitors.
"""

# Rows: PKG-12, CON-05, CON-06, RT-36, SUB-07

from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    event,
    rpc,
    type_subscription,
)


@dataclass
class WorkRequest:
    id: str
    steps: int


@dataclass
class WorkResponse:
    text: str


@dataclass
class ProgressEvent:
    percent: int


class Worker(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("works step by step")

    @rpc
    async def work(self, message: WorkRequest, ctx: MessageContext) -> WorkResponse:
        for step in range(message.steps):
            progress = ProgressEvent(100 * step // message.steps)
            await self.publish_message(progress, TopicId("progress", message.id))
            await trio.sleep(0.01)  # the work
        return WorkResponse(f"{message.id} is done")


@type_subscription("progress")
class Monitor(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("shows the progress of one piece of work")
        self._events = 0

    @event
    async def on_progress(self, message: ProgressEvent, ctx: MessageContext) -> None:
        self._events += 1
        print(f"{self.id}: {message.percent} % (event {self._events})")


async def main() -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        await Worker.register(runtime, "worker", Worker)
        await Monitor.register(runtime, "monitor", Monitor)
        runtime.start()
        for request in (WorkRequest("report", 2), WorkRequest("film", 3)):
            response = await runtime.send_message(request, AgentId("worker", "default"))
            print(response.text)
        await runtime.stop_when_idle()


trio.run(main)

# Prints:
# monitor/report: 0 % (event 1)
# monitor/report: 50 % (event 2)
# report is done
# monitor/film: 0 % (event 1)
# monitor/film: 33 % (event 2)
# monitor/film: 66 % (event 3)
# film is done
