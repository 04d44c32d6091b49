"""Where strangers' code runs: a jail made of Linux namespaces, or nowhere.

    box = find_sandbox()
    if box is None: ...                       # 'not measured: no sandbox'
    ran = box.run(b"print(6 * 7)")            # Ran(status="ok", stdout=b"42\\n", ...)

Nothing here ever runs a program in this process or outside a jail.
"""

from commonweal.core.sandbox.bubblewrap import Sandbox, find_sandbox
from commonweal.core.sandbox.process import Limits, Ran, Status

__all__ = ["Limits", "Ran", "Sandbox", "Status", "find_sandbox"]
