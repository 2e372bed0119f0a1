"""Faults that are planted into a copy of the package, to see whether the suite finds them.

Each is a replacement in a source file. The text to be replaced must be there once, so a change of
the code that a fault is planted in makes itself known. Those marked [AutoGen] are faults of
autogen-core 0.7.5, rebuilt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Bug:
    """One fault, and the row of the long run that has to find it."""

    name: str
    file: str
    old: str
    new: str
    row: str = "random-programs"

    def plant(self, package: Path) -> None:
        """Put it into a copy of the package."""
        path = package / self.file
        source = path.read_text(encoding="utf-8")
        count = source.count(self.old)
        assert count == 1, f"{self.name}: {self.file} has {count} times\n{self.old}"
        path.write_text(source.replace(self.old, self.new), encoding="utf-8")


PIPELINE: Final = "_core/_pipeline.py"
WORKERS: Final = "_core/_workers.py"
GATE: Final = "_core/_gate.py"
ACTIVATION: Final = "_core/_activation.py"
RUNTIME: Final = "_core/_runtime.py"

BUGS: Final = (
    Bug(
        "a dropped publication stays pending [AutoGen]",
        PIPELINE,
        "            self.settle(envelope, DROPPED, error=error)\n            return False\n",
        "            if envelope.topic is None:\n"
        "                self.settle(envelope, DROPPED, error=error)\n            return False\n",
    ),
    Bug(
        "a sender is not told that its handler failed [AutoGen]",
        PIPELINE,
        "            envelope.reply.set()\n",
        "            if outcome is not FAILED:\n                envelope.reply.set()\n",
    ),
    Bug(
        "stop leaves the senders of queued requests waiting [AutoGen]",
        GATE,
        "        self._pipeline.settle(envelope, UNDELIVERABLE, error=error)\n",
        "        if not isinstance(envelope, Request):\n"
        "            self._pipeline.settle(envelope, UNDELIVERABLE, error=error)\n",
    ),
    Bug(
        "idle although one handler still runs [AutoGen]",
        GATE,
        "        return self._ledger.pending == 0\n",
        "        return self._ledger.pending <= 1\n",
    ),
    Bug(
        "the failure of a publication is seen by nobody [AutoGen]",
        PIPELINE,
        "            self.supervisor.report(error, envelope)\n",
        "            pass\n",
    ),
    Bug(
        "failures are logged, and not kept for stop [AutoGen]",
        "_core/_supervision.py",
        "            self._kept.append(error)\n",
        "            self._kept[:] = [error]\n",
    ),
    Bug(
        "one recipient that cannot be made takes the publication from the others [AutoGen]",
        PIPELINE,
        "            activation.vacate(envelope)\n            self._settle_failure(envelope, exc)\n",
        "            activation.vacate(envelope)\n"
        "            self.workers._front.clear()\n"
        "            self._settle_failure(envelope, exc)\n",
    ),
    Bug(
        "a factory that waits is called for each message [AutoGen]",
        ACTIVATION,
        "        if self.starter is not None:\n            return False\n"
        "        if self.is_empty and self._has_room:\n",
        "        if self.is_empty and self._has_room:\n",
    ),
    Bug(
        "states are saved while messages are handled [AutoGen]",
        GATE,
        "        return self.nothing_runs() and not self.errands and not self._looking\n",
        "        return not self.errands and not self._looking\n",
    ),
    Bug(
        "a cancelled token frees the sender, and the handler runs on [AutoGen]",
        PIPELINE,
        "        if envelope.stage is QUEUED:\n            self.void_early(envelope)\n"
        "            self.settle(envelope, CANCELLED,",
        "        if envelope.stage is QUEUED or (\n"
        "            envelope.token is not None and type(envelope) is Request\n"
        "            and envelope.stage is RUNNING\n        ):\n"
        "            self.void_early(envelope)\n"
        "            self.settle(envelope, CANCELLED,",
    ),
    Bug(
        "a token keeps what was linked to it [AutoGen]",
        PIPELINE,
        "            envelope.token.unlink(envelope.link)\n        if envelope.observation",
        "            pass\n        if envelope.observation",
    ),
    Bug(
        "stop returns while a handler runs [AutoGen]",
        RUNTIME,
        "                await self._name_stubborn()\n"
        "            await self._ledger.wait_until(self._gate.nothing_runs)\n\n",
        "\n",
    ),
    Bug(
        "each intervention handler sees the first message [AutoGen]",
        "_core/_interception.py",
        "                asked = ask(handler, message, envelope)\n",
        "                asked = ask(\n"
        "                    handler, message if ask is on_response else envelope.message, envelope\n"
        "                )\n",
    ),
    Bug(
        "what was published last begins first [AutoGen]",
        WORKERS,
        "                        envelope = front.popleft()\n",
        "                        envelope = front.pop()\n",
    ),
    Bug(
        "max_pending lets everybody in [AutoGen]",
        "_core/_room.py",
        "        return not self._line and self._ledger.pending < self.capacity\n",
        "        return not self._line\n",
    ),
    Bug(
        "a message has two outcomes",
        PIPELINE,
        "        self.ledger.settle(outcome)\n        if outcome is UNDELIVERABLE:\n",
        "        self.ledger.settle(outcome)\n"
        "        if outcome is CANCELLED and envelope.topic is not None:\n"
        "            self.ledger.settle(outcome)\n"
        "        if outcome is UNDELIVERABLE:\n",
    ),
    Bug(
        "a worker does not hand the queue over",
        WORKERS,
        "                    if (front or self._queued or released) and not self._scouts:\n",
        "                    if (front or released) and not self._scouts:\n",
    ),
    Bug(
        "a worker that is cancelled leaves the queue to nobody",
        WORKERS,
        "            del self.at_work[worker]\n"
        "            worker.work = None\n"
        "            if not self.is_empty and not self._scouts:\n"
        "                self._wake()\n",
        "            del self.at_work[worker]\n            worker.work = None\n",
    ),
    Bug(
        "idle when no handler runs, though some are queued",
        GATE,
        "        return self._ledger.pending == 0\n",
        "        return self._ledger.running == 0\n",
    ),
    Bug(
        "the second that waits for a factory comes first",
        ACTIVATION,
        "        self._mailbox[0].send_nowait(envelope)\n        self._waiting += 1\n",
        "        if self.starter is not None and self.head is not None:\n"
        "            self.head, envelope = envelope, self.head\n"
        "        self._mailbox[0].send_nowait(envelope)\n        self._waiting += 1\n",
    ),
    Bug(
        "an exception is replaced on its way",
        PIPELINE,
        "            self._loop.explain(rest)\n            self.settle(envelope, FAILED, error=rest)\n",
        "            self._loop.explain(rest)\n"
        "            self.settle(envelope, FAILED, error=ExceptionGroup('', [ValueError(str(rest))]))\n",
    ),
    Bug(
        "context variables reach the next message",
        "_core/_calls.py",
        "        return copy_context() == before\n",
        "        return True\n",
    ),
    Bug(
        "an unsubscription is not heard of where the topic was used",
        "_sansio/_routing.py",
        "        del self._subscriptions[id]\n        self._remembered.clear()\n",
        "        del self._subscriptions[id]\n",
    ),
    Bug(
        "max_concurrency is one too many",
        ACTIVATION,
        "        return self.closing is None and (self.limit is None or self.running < self.limit)\n",
        "        return self.closing is None and (self.limit is None or self.running <= self.limit)\n",
    ),
    Bug(
        "circles of requests are not looked for",
        "_core/_waits.py",
        "    circle = _find_circle(envelope)\n",
        "    circle: list[Envelope] = []\n",
    ),
    Bug(
        "a cancelled sender goes on before its handler has unwound",
        PIPELINE,
        "            self.press(envelope, reason)\n        return False\n",
        "            self.press(envelope, reason)\n"
        "        return type(envelope) is Request and envelope.stage is RUNNING\n",
    ),
    Bug(
        "an agent is closed while it handles",
        ACTIVATION,
        "        if self.closing is not None and not self.running and not self.closing.cleared:\n",
        "        if self.closing is not None and not self.closing.cleared:\n",
    ),
    Bug(
        "a request that its own agent waits for stands in line",
        ACTIVATION,
        "        return any(caller.is_for(self) for caller in envelope.ancestors())\n",
        "        return False\n",
    ),
    Bug(
        "stop forgets what waits in mailboxes",
        GATE,
        "            queued += activation.drain()\n",
        "            pass\n",
        "stops",
    ),
    Bug(
        "a publisher hears itself",
        PIPELINE,
        "            if id == sender:\n                continue\n",
        "            if id is None:\n                continue\n",
    ),
    Bug(
        "a mailbox has room for one more",
        ACTIVATION,
        "        return size is not None and len(self._inside or ()) >= size\n",
        "        return size is not None and len(self._inside or ()) > size\n",
    ),
    Bug(
        "what waits for an intervention handler is overtaken",
        ACTIVATION,
        "            if first.held or (self.limit",
        "            if (self.limit",
    ),
    Bug(
        "the data of a state file are not synced",
        "_sansio/_state_file_save.py",
        "                self._disk.fsync(fd)\n",
        "                pass\n",
        row="disk-crash-states",
    ),
    Bug(
        "the directory of a state file is not synced",
        "_sansio/_state_file_save.py",
        "            self._disk.fsync(folder)\n",
        "            pass\n",
        row="disk-crash-states",
    ),
    Bug(
        "Ctrl-C leaves the block in a group",
        RUNTIME,
        "        return bare(first)\n",
        "        return first\n",
        row="faults-at-each-step",
    ),
)
