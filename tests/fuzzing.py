"""How strangers' requests are made up: the same ones each time, and nothing kept; a test says how many."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

FUZZ = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
