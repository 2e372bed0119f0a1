# The concurrent core: the road of a message from its submission to its outcome. It is written in
# trio's words and asks its event loop for what `_loops` lists, and for nothing else.
