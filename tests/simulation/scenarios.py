"""Scenarios that can be imported, for commands that replay them."""

from __future__ import annotations

import anyio
import anyio.lowlevel

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
