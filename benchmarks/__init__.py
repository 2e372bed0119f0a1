"""What a message costs in trio_agents, next to three systems of other shapes.

Run `python -m benchmarks` from the root of a checkout. It prints a table and, when the run was a
full one, writes `docs/benchmarks.md`.

Each system has one file, and each file has the same scenarios under the same names, so that two
files can be read side by side:

    _ours.py      trio_agents on trio
    _autogen.py   AutoGen Core on asyncio: the same agents, the same calls
    _pykka.py     Pykka: one thread per actor
    _floor.py     trio alone, in the same shape: what no runtime on trio can go below

`_scenarios.py` says what each scenario is, how large it is and what we want of it; `_sample.py` is
the clock and the scales, the same for all; `_worker.py` gives each system a process of its own;
`_report.py` turns the rounds into a table.
"""
