"""A stand-in for the Azure Functions host. Run it with `python -m devstack.host`, or inside a test's process.

    host = Host(app)                    # a FunctionApp, or the module that contains it
    with serve(host) as served:         # on a free port of 127.0.0.1
        requests.post(served.url + "/runtime/webhooks/eventgrid?functionName=aml_event", ...)

The stand-in host indexes and calls functions as Microsoft's Python worker does. It answers Event Grid, HTTP and
administration requests as the Functions host does. It asks for keys only on request (`--keys`), like Core Tools.
"""

from devstack.host.errors import HostError
from devstack.host.hearing import heard
from devstack.host.host import Host
from devstack.host.host_json import HostSettings
from devstack.host.index import load_app
from devstack.host.keys import Keys
from devstack.host.server import Served, serve

__all__ = ["Host", "HostError", "HostSettings", "Keys", "Served", "heard", "load_app", "serve"]
