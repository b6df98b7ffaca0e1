"""A stand-in for Azure Resource Manager, with the checks of the services that `manage.py connect` depends on.

    emulator = Emulator(sample.resources())
    with serving(emulator) as server:
        emulator.behavior = replace(emulator.behavior, role_checks=3)   # a new role arrives at the fourth check
        emulator.plan(Fault(accept=False, match=Match(method="PUT", path="."), status=429))
        ...                                                             # requests to server.url, with a bearer token
    emulator.requests, emulator.resources                               # what was asked, and what there is now

Run it as a process with ``python -m devstack.arm``. It is controlled below ``/_emulator/`` then, see control.py. It
knows a few resource types (types.py), and answers other ones as Resource Manager answers an unknown type. Resource
groups, sites, storage accounts, workspaces and the like cannot be created through the API, only read and deleted.

Nothing depends on how fast the machine is: a long-running operation, a role assignment or a function that comes late
counts requests, not seconds (behavior.py).
"""

from devstack.ado.faults import Fault, Match
from devstack.arm.behavior import Behavior
from devstack.arm.emulator import Emulator

__all__ = ["Behavior", "Emulator", "Fault", "Match"]
