"""Batches: many requests in one file, asked when machines are idle, and answered in files."""
