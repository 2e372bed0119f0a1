"""The test kit: what the library is tested with, for the agents that people write with it."""
