"""The connection that a member opens to be asked: its frames, and the hub's end of it."""
