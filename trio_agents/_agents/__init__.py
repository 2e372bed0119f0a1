# The agents people derive from. They see the interfaces in `_sansio` only, never the runtime that
# drives them: the same agent runs on every runtime that keeps the `AgentRuntime` protocol.
