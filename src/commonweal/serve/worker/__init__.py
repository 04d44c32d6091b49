"""The member's side of serving: it connects, loads models, and answers."""
