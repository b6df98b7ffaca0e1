"""The exceptions of the stand-in host.

HostError
├── InvalidSettingsFile    local.settings.json or host.json is invalid
├── IndexingFailed         the function app contains something that the worker would not load
├── AddressUnavailable     the port is in use or not permitted
├── HostStopping           an invocation was requested while the host is stopping
└── InvocationFailed       the function raised an exception, or returned a value that its bindings do not accept
    ├── InvocationTimedOut the function ran longer than `functionTimeout`
    └── WorkerKilled       another invocation of the same worker ran longer than `functionTimeout`
"""


class HostError(Exception):
    """The base class of all exceptions of the stand-in host."""


class InvalidSettingsFile(HostError):
    """`local.settings.json` or `host.json` is invalid.

    The message is one line, and quotes no value from `local.settings.json`.
    """


class IndexingFailed(HostError):
    """The function app cannot be indexed. The message names the function and the reason."""


class AddressUnavailable(HostError):
    """The address cannot be bound."""


class HostStopping(HostError):
    """The host is stopping and accepts no more invocations."""


class InvocationFailed(HostError):
    """An invocation failed. The message is that of the function's exception, which is the `__cause__`."""


class InvocationTimedOut(InvocationFailed):
    """The function was still running after `functionTimeout`. The message is the host's answer."""


class WorkerKilled(InvocationFailed):
    """The worker was killed while it ran the function, because another invocation exceeded `functionTimeout`."""
