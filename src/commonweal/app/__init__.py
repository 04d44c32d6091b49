"""The hub as an ASGI application: the one place that knows both the pool and what the pool is for.

``hub`` has the pool's half and puts the application together, ``serving`` the half that serves models.
"""

from commonweal.app.hub import LARGEST_BODY, FirstKeys, HubSettings, build, first_start

__all__ = ["LARGEST_BODY", "FirstKeys", "HubSettings", "build", "first_start"]
