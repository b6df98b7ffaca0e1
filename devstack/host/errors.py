"""What can go wrong in the stand-in host.

HostError
├── InvalidSettingsFile    local.settings.json or host.json cannot be used
├── IndexingFailed         the function app has something that the worker would not load
├── AddressUnavailable     the port is taken, or may not be bound
├── HostStopping           an invocation was asked for while the host is going down
└── InvocationFailed       the function raised, or returned what its bindings cannot carry
    └── InvocationTimedOut it took longer than `functionTimeout`
"""


class HostError(Exception):
    """The root of everything that the stand-in host raises on purpose."""


class InvalidSettingsFile(HostError):
    """`local.settings.json` or `host.json` cannot be used; the text is one line and holds no value of it."""


class IndexingFailed(HostError):
    """The function app cannot be indexed; the text says which function and why."""


class AddressUnavailable(HostError):
    """The address cannot be bound."""


class HostStopping(HostError):
    """The host takes no more invocations."""


class InvocationFailed(HostError):
    """An invocation failed; the text is that of the function's exception, `__cause__` the exception."""


class InvocationTimedOut(InvocationFailed):
    """The function was still running when `functionTimeout` had passed."""
