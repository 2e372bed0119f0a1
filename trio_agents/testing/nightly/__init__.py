"""The long run: every kind of fault, as often as the time allows, and a report of what was tried.

``python -m trio_agents.testing.nightly`` runs it, stops by itself, and ends with 1 if anything that
the library promises did not hold.
"""

__all__: list[str] = []
