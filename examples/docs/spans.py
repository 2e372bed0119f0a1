# docs/guides/telemetry.md: the spans of a request. It needs opentelemetry-sdk, and says so.

import sys
from dataclasses import dataclass

import trio

from trio_agents import (
    AgentId,
    MessageContext,
    RoutedAgent,
    open_runtime,
    rpc,
    trace_tool_span,
)

try:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
except ImportError:
    print("this example needs opentelemetry-sdk", file=sys.stderr)
    raise SystemExit(0) from None


@dataclass(frozen=True)
class Question:
    text: str


class Clerk(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("asks the expert")

    @rpc
    async def ask(self, message: Question, ctx: MessageContext) -> str:
        return str(await self.send_message(message, AgentId("expert", self.id.key)))


# [tool]
class Expert(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("knows")

    @rpc
    async def answer(self, message: Question, ctx: MessageContext) -> str:
        with trace_tool_span("lookup", tracer=tracer):
            return "42"


# [/tool]
# [provider]
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("my-application")


async def main() -> None:
    async with open_runtime(tracer_provider=provider) as runtime:
        await Clerk.register(runtime, "clerk", Clerk)
        await Expert.register(runtime, "expert", Expert)
        await runtime.send_message(Question("why?"), AgentId("clerk", "x"))
    show()


# [/provider]
def show() -> None:
    spans = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
    depths: dict[int, int] = {}
    for span in spans:
        context = span.get_span_context()
        assert context is not None
        depths[context.span_id] = 0 if span.parent is None else depths[span.parent.span_id] + 1
        print("    " * depths[context.span_id] + span.name)


trio.run(main)

# Prints:
# autogen create clerk.(x)-A
#     autogen send clerk.(x)-A
#         autogen process clerk.(x)-A
#             autogen create expert.(x)-A
#                 autogen send expert.(x)-A
#                     autogen process expert.(x)-A
#                         execute_tool lookup
#                 autogen ack clerk.(x)-A
#     autogen ack
