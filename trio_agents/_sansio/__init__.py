# Plain values and decisions. Nothing in this package imports an event loop, so every rule in it
# can be tested without a clock, a nursery or a mailbox.
