# What the core asks of an event loop, answered for each loop. Nothing else in the library tells
# one event loop from another.
