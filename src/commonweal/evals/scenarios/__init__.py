"""Scenarios: one module a family, and the explicit list of all in registry.py."""
