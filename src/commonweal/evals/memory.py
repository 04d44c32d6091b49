"""Memory between the parts of a run: what one part has freed is given back before the next begins.

glibc keeps freed memory for itself, in pieces too small for the next part's arrays; so the greatest part of a run of
100,000 samples would stand on top of all that was freed before. Other C libraries give back by themselves, or not.
"""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return freed memory to the system, where the C library can (``malloc_trim``); milliseconds."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)
