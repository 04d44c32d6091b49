"""From an instance to requests, and from completions to an answer: one module a method."""
