"""The engine that serves models in a member's process, and what stands in for it: a server fronted, a mock."""
