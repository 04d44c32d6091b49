from __future__ import annotations

import pytest

from commonweal.core.sandbox import Sandbox, find_sandbox


@pytest.fixture(scope="session")
def box() -> Sandbox:
    """A jail that works here."""
    found = find_sandbox()
    if found is None:
        pytest.skip("no sandbox: bubblewrap is missing, or user namespaces are switched off")
    return found
