"""Pages: they read, and never decide."""
