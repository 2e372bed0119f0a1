# docs/guides/testing.md: messages by hypothesis, for one's own classes.

# [test]
from dataclasses import dataclass

from hypothesis import given

from trio_agents import AgentId, try_get_known_serializers_for_type
from trio_agents.testing.strategies import agent_ids, hostile_keys, messages


@dataclass(frozen=True)
class Order:
    customer: str
    lines: list[tuple[str, int]]
    discount: float | None


@given(messages(Order))
def test_orders_survive_their_serializer(order: Order) -> None:
    (serializer,) = try_get_known_serializers_for_type(Order)
    assert serializer.deserialize(serializer.serialize(order)) == order


def file_name(id: AgentId) -> str:
    """Name the file that belongs to an agent."""
    return f"{id.type}-{id.key.encode().hex()}.json"


@given(agent_ids(keys=hostile_keys()))
def test_no_key_leads_out_of_the_directory(id: AgentId) -> None:
    assert "/" not in file_name(id)


# [/test]
if __name__ == "__main__":
    import subprocess
    import sys

    # An installed trio_agents brings its plugin with it, a checkout does not.
    plugin = ["-p", "no:trio_agents", "-p", "trio_agents.testing.pytest_plugin"]
    options = ["-q", "-p", "no:cacheprovider"]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *plugin, *options, __file__]))
