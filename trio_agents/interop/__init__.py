"""Runtimes that speak other libraries' own types. Each module needs an optional dependency."""

__all__: list[str] = []
