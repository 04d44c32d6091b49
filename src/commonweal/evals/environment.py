"""Where a run was made: versions and the machine, for whoever wants to repeat it.

Says what is known without asking anybody and without importing anything heavy. Reads no environment variable, names
no person, no host and no path.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

from commonweal import __version__
from commonweal.evals.energy.meter import Energy

_LIBRARIES = ("numpy", "pyarrow", "httpx")
_MODEL_LIBRARIES = ("torch", "transformers", "tokenizers")


def environment(energy: Energy) -> dict[str, Any]:
    """Versions and machine as plain JSON, and how ``energy`` is measured there. Libraries that compute a local model
    are named only where they are in use."""
    used = [*_LIBRARIES, *(name for name in _MODEL_LIBRARIES if name in sys.modules)]
    return {
        "commonweal": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "energy": str(energy),
        "libraries": {name: version for name in used if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
