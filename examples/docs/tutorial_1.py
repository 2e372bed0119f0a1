# Step 1 of docs/tutorial.md: a message.

# [messages]
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    item: str
    quantity: int


@dataclass(frozen=True)
class Receipt:
    text: str


# [/messages]
print(Order("tea", 2))

# Prints:
# Order(item='tea', quantity=2)
