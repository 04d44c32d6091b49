"""Models by transformers configuration: built, read and written as vectors, saved, sampled."""
