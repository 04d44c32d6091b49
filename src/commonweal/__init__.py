"""Commonweal: a public cloud for foundation models, made of machines that people already have."""

__version__ = "0.1.0"
