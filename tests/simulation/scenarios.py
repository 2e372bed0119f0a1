"""Scenarios that can be imported, for commands that replay them."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import anyio.to_thread

from trio_agents.testing import Simulation


class Account:
    """Loses money if two withdraw at once: it waits between reading and writing."""

    def __init__(self) -> None:
        self.balance = 100

    async def withdraw(self, amount: int) -> None:
        balance = self.balance
        await anyio.lowlevel.checkpoint()
        self.balance = balance - amount


async def lost_update(sim: Simulation) -> None:
    account = Account()

    async def pause_and_withdraw(amount: int, pauses: int) -> None:
        for _ in range(pauses):
            await anyio.lowlevel.checkpoint()
        await account.withdraw(amount)
        sim.note(amount)

    async with anyio.create_task_group() as group:
        group.start_soon(pause_and_withdraw, 10, 0)
        group.start_soon(pause_and_withdraw, 20, 5)
        group.start_soon(pause_and_withdraw, 30, 10)
    assert account.balance == 40, account.balance


async def harmless(sim: Simulation) -> None:
    await anyio.sleep(1)


async def punctual(sim: Simulation) -> None:
    """Fails if the clock jumps."""
    for _ in range(3):
        began = sim.current_time()
        await anyio.sleep(1)
        assert sim.current_time() - began == 1


def burn(sim: Simulation) -> None:
    """A fault that ends the scenario."""
    raise ZeroDivisionError


def hang_up(sim: Simulation) -> None:
    """A fault that ends the scenario with what click takes for the end of its input."""
    raise EOFError


async def forgotten(sim: Simulation) -> None:
    """A value is forgotten between two steps of somebody who has just looked whether it is there.

    The one who forgets comes late and the other one takes few steps: two things have to come first.
    """
    value: list[int] = []

    async def look_up() -> None:
        if not value:
            await anyio.lowlevel.checkpoint()
            value.append(1)
        await anyio.lowlevel.checkpoint()
        assert value, "it was there"

    async def forget() -> None:
        for _ in range(4):
            await anyio.lowlevel.checkpoint()
        value.clear()

    async with anyio.create_task_group() as group:
        for task in (look_up, forget):
            group.start_soon(task)


async def impatient(sim: Simulation) -> None:
    """It waits for a thread, and then it fails."""
    await anyio.to_thread.run_sync(int)
    raise ZeroDivisionError


# What cannot be imported by its name is what it is for.
BY_LAMBDA = lambda sim: impatient(sim)  # noqa: E731
