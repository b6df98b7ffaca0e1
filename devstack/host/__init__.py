"""A stand-in for the Azure Functions host: `python -m devstack.host`, or in one process with a test.

    host = Host(app)                    # a FunctionApp, or the module that holds it
    with serve(host) as served:         # a free port of 127.0.0.1
        requests.post(served.url + "/runtime/webhooks/eventgrid?functionName=aml_event", ...)

It indexes and calls functions as Microsoft's Python worker does, and answers Event Grid, HTTP and
administration requests as the Functions host does, except that it asks for no key (nor does Core Tools).
"""

from devstack.host.errors import HostError
from devstack.host.host import Host
from devstack.host.host_json import HostSettings
from devstack.host.index import load_app
from devstack.host.server import Served, serve

__all__ = ["Host", "HostError", "HostSettings", "Served", "load_app", "serve"]
