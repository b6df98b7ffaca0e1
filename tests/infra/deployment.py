"""What a Bicep template deploys, evaluated as Azure Resource Manager would: resources by type, name and properties.

What only Azure knows, such as the properties of a resource and the outputs of a module, is ``Runtime``: a string that
says so. `azd provision --preview` cannot predict a resource whose name or scope contains one.
"""

import hashlib
import ipaddress
import operator
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.infra.bicep import INFRA
from tests.infra.syntax import Declaration, Node, parse
from tests.support.builders import WORKSPACE

SUBSCRIPTION: Final = "/subscriptions/11111111-1111-1111-1111-111111111111"
PROFILES: Final = ("dev", "production", "private")
REQUIRED: Final[Mapping[str, Any]] = {
    "environmentName": "nextstage-test",
    "location": "westeurope",
    "azureDevOpsOrgUrl": "https://dev.azure.com/contoso",
    "azureDevOpsProject": "mlops",
}
EVERYTHING: Final[Mapping[str, Any]] = {
    **REQUIRED,
    "azureDevOpsAuth": "pat",
    "waits": True,
    "waitClientId": "00000000-0000-0000-0000-000000000002",
    "amlWorkspaceId": WORKSPACE,
    "amlWorkspaceIds": f"{WORKSPACE},{WORKSPACE}-2",
    "notificationTopic": True,
    "alertEmail": "ops@contoso.com",
    "operatorPrincipalId": "an-operator",
    "pythonVersion": "3.12",
    "allowedIps": "203.0.113.7, 198.51.100.0/24",
}
"""Parameters of main.bicep with which it deploys all that it can."""
DEPLOYER: Final = {"objectId": "a-deployer", "tenantId": "a-tenant", "userPrincipalName": "ada@contoso.com"}
_CLOUD: Final = {
    "name": "AzureCloud",
    "suffixes": {"storage": "core.windows.net", "keyvaultDns": ".vault.azure.net"},
    "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
}
_PROPERTIES: Final[Mapping[str, str]] = {
    "Microsoft.Storage/storageAccounts.properties.primaryEndpoints.blob": "https://{name}.blob.core.windows.net/",
    "Microsoft.Storage/storageAccounts.properties.primaryEndpoints.queue": "https://{name}.queue.core.windows.net/",
    "Microsoft.Storage/storageAccounts.properties.primaryEndpoints.table": "https://{name}.table.core.windows.net/",
    "Microsoft.KeyVault/vaults.properties.vaultUri": "https://{name}.vault.azure.net/",
    "Microsoft.EventGrid/topics.properties.endpoint": "https://{name}.westeurope-1.eventgrid.azure.net/api/events",
}


class Runtime(str):
    """A string that only Azure knows, here with a value that it could have."""

    __slots__ = ()


@dataclass
class Resource:
    """One resource, or one that exists already.

    :param type: without the version, for example ``Microsoft.Storage/storageAccounts``.
    :param name: the last segment of the name.
    :param scope: the resource that an extension, such as a role assignment, belongs to.
    :param body: the other top-level properties.
    """

    type: str
    version: str
    name: str
    id: str
    scope: "Resource | None" = None
    body: dict[str, Any] = field(default_factory=dict)
    children: "dict[str, Resource]" = field(default_factory=dict)

    @property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["properties"]
        return found


@dataclass
class _Property:
    """A property of a resource that is not known before the deployment."""

    resource: Resource
    path: str

    def value(self) -> Runtime:
        known = _PROPERTIES.get(f"{self.resource.type}{self.path}", f"<{self.resource.name}{self.path}>")
        return Runtime(known.format(name=self.resource.name))


@dataclass
class Deployment:
    """What one template deploys, with its modules.

    :param groups: the resource groups of the modules, by the name of the module.
    """

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    def all(self, type_name: str) -> list[Resource]:
        """Return the resources of a type."""
        return [one for one in self.resources if one.type == type_name]

    def one(self, type_name: str) -> Resource:
        """Return the only resource of a type."""
        (found,) = self.all(type_name)
        return found


def deploy(path: str, group: str = "", **parameters: Any) -> Deployment:
    """Evaluate a template in ``infra/``.

    :param group: the resource group that it is deployed to; empty for a subscription.
    """
    return _Template(INFRA / path, group, parameters).deployed()


def app_settings(**parameters: Any) -> dict[str, str]:
    """Return the application settings that main.bicep sets."""
    configs = deploy("main.bicep", **parameters).all("Microsoft.Web/sites/config")
    (found,) = [one.properties for one in configs if one.name == "appsettings"]
    return found


def is_known(value: Any) -> bool:
    """Return whether a value is known before the deployment."""
    if isinstance(value, dict):
        return all(is_known(each) for pair in value.items() for each in pair)
    return all(map(is_known, value)) if isinstance(value, list) else not isinstance(value, Runtime)


@cache
def _parsed(path: Path) -> list[Declaration]:
    return parse(path.read_text(encoding="utf-8"))


class _Template:
    def __init__(self, path: Path, group: str, parameters: Mapping[str, Any]) -> None:
        self._path = path
        self._group = group
        self._declared = _parsed(path)
        self._values: dict[str, Any] = dict(parameters)
        self._by_name = {one.name: one for one in self._declared if one.keyword != "output"}
        self._result = Deployment()
        unknown = set(parameters) - {one.name for one in self._declared if one.keyword == "param"}
        assert not unknown, f"{path.name} has no parameter {unknown}"

    def deployed(self) -> Deployment:
        for one in self._declared:
            if one.keyword == "output":
                assert one.value is not None
                self._result.outputs[one.name] = self._value(one.value, {})
            else:
                self._named(one.name)
        return self._result

    def _named(self, name: str) -> Any:
        if name not in self._values:
            declared = self._by_name[name]
            if declared.keyword in {"resource", "module"}:
                make = self._resource if declared.keyword == "resource" else self._module
                self._values[name] = self._each(declared, make)
            else:
                assert declared.value is not None, f"{self._path.name} needs the parameter {name}"
                self._values[name] = self._value(declared.value, {})
        return self._values[name]

    def _each(self, declared: Declaration, make: Callable[..., Any]) -> Any:
        """Make a resource or module, or a list of them; a condition that is false makes it without deploying it."""
        assert declared.value is not None
        if declared.value.kind == "for":
            names, items, body = declared.value.parts
            return [make(declared, body, local) for local in self._turns(names, items, {})]
        return make(declared, declared.value, {})

    def _resource(
        self, declared: Declaration, body: Node, local: Mapping[str, Any], parent: Resource | None = None
    ) -> Resource:
        is_deployed = not declared.is_existing
        if body.kind == "if":
            is_deployed &= self._value(body.parts[0], local)
            body = body.parts[1]
        found = self._value(body, local)
        type_name, _, version = declared.type.partition("@")
        parent = parent or found.pop("parent", None)
        if parent is not None and "/" not in type_name:
            type_name = f"{parent.type}/{type_name}"
        found.pop("dependsOn", None)
        scope, name = found.pop("scope", None), found.pop("name")
        container = scope.id if scope else parent.id if parent else self._container(type_name)
        last = type_name.rpartition("/")[2]
        id_ = f"{container}/{last}/{name}" if parent else f"{container}/providers/{type_name}/{name}"
        resource = Resource(type_name, version or (parent.version if parent else ""), name, id_, scope, found)
        if is_deployed:
            self._result.resources.append(resource)
        for child in declared.nested:
            assert child.value is not None
            resource.children[child.name] = self._resource(child, child.value, local, resource)
        return resource

    def _container(self, type_name: str) -> str:
        if type_name == "Microsoft.Resources/resourceGroups":
            return SUBSCRIPTION
        return f"{SUBSCRIPTION}/resourceGroups/{self._group}"

    def _module(self, declared: Declaration, body: Node, local: Mapping[str, Any]) -> Deployment | None:
        if body.kind == "if":
            if not self._value(body.parts[0], local):
                return None
            body = body.parts[1]
        entries = {key.parts[0]: value for key, value in body.parts if key}
        scope = self._value(entries["scope"], local) if "scope" in entries else None
        group = scope.name if scope else self._group
        self._result.groups[self._value(entries["name"], local)] = group
        made = _Template(self._path.parent / declared.type, group, self._value(entries["params"], local)).deployed()
        self._result.resources += made.resources
        return made

    def _turns(self, names: list[str], items: Node, local: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for i, item in enumerate(self._value(items, local)):
            yield {**local, **dict(zip(names, (item, i), strict=False))}

    def _value(self, node: Node, local: Mapping[str, Any]) -> Any:
        found = self._raw(node, local)
        return found.value() if isinstance(found, _Property) else found

    def _raw(self, node: Node, local: Mapping[str, Any]) -> Any:
        """Return the value of an expression. A property of a resource is not yet converted: a path may go on."""
        return getattr(self, f"_{node.kind}")(local, *node.parts)

    def _literal(self, local: Mapping[str, Any], value: object) -> object:
        return value

    def _string(self, local: Mapping[str, Any], *parts: str | Node) -> str:
        return _joined([part if isinstance(part, str) else self._value(part, local) for part in parts])

    def _array(self, local: Mapping[str, Any], *items: Node) -> list[Any]:
        return [self._value(item, local) for item in items]

    def _object(self, local: Mapping[str, Any], *entries: tuple[Node | None, Node]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in entries:
            if key is None:
                found |= self._value(value, local)
            elif key.parts[0] != "dependsOn":
                found[self._value(key, local)] = self._value(value, local)
        return found

    def _for(self, local: Mapping[str, Any], names: list[str], items: Node, body: Node) -> list[Any]:
        return [self._value(body, turn) for turn in self._turns(names, items, local)]

    def _name(self, local: Mapping[str, Any], name: str) -> Any:
        return local[name] if name in local else self._named(name)

    def _not(self, local: Mapping[str, Any], operand: Node) -> bool:
        return not self._value(operand, local)

    def _choice(self, local: Mapping[str, Any], condition: Node, yes: Node, no: Node) -> Any:
        return self._value(yes if self._value(condition, local) else no, local)

    def _index(self, local: Mapping[str, Any], container: Node, index: Node) -> Any:
        return self._value(container, local)[self._value(index, local)]

    def _member(self, local: Mapping[str, Any], container: Node, name: str) -> Any:
        return _member(self._raw(container, local), name)

    def _lambda(self, local: Mapping[str, Any], name: str, body: Node) -> Callable[[Any], Any]:
        return lambda value: self._value(body, {**local, name: value})

    def _binary(self, local: Mapping[str, Any], sign: str, left: Node, right: Node) -> Any:
        first = self._value(left, local)
        match sign:
            case "??":
                return first if first is not None else self._value(right, local)
            case "&&" | "||":
                return self._value(right, local) if first == (sign == "&&") else first
            case _:
                return _OPERATORS[sign](first, self._value(right, local))

    def _call(self, local: Mapping[str, Any], name: str, *nodes: Node) -> Any:
        arguments = [self._value(node, local) for node in nodes]
        own: Mapping[str, Callable[..., Any]] = {
            "loadTextContent": lambda path: (self._path.parent / path).read_text(encoding="utf-8"),
            "resourceGroup": lambda: {"id": self._container(""), "name": self._group, "location": "westeurope"},
            "resourceId": lambda type_name, *names: _id(self._container(""), type_name, names),
        }
        result = (own.get(name) or _FUNCTIONS[name])(*arguments)
        return Runtime(result) if isinstance(result, str) and not is_known(arguments) else result


def _id(container: str, type_name: str, names: tuple[str, ...]) -> str:
    provider, *types = type_name.split("/")
    segments = [f"{each}/{name}" for each, name in zip(types, names, strict=True)]
    return "/".join([container, "providers", provider, *segments])


def _joined(parts: list[Any]) -> str:
    text = "".join(str(part).lower() if isinstance(part, bool) else str(part) for part in parts)
    return text if is_known(parts) else Runtime(text)


def _member(base: Any, name: str) -> Any:
    match base:
        case _Property():
            return _Property(base.resource, f"{base.path}.{name}")
        case Resource() if name in base.children:
            return base.children[name]
        case Resource():
            return getattr(base, name) if name in {"id", "name", "type"} else _Property(base, f".{name}")
        case Deployment():
            assert name == "outputs"
            return {key: _at_runtime(value) for key, value in base.outputs.items()}
        case _:
            return base[name]


def _at_runtime(value: Any) -> Any:
    return Runtime(value) if isinstance(value, str) else value


def _union(*values: Any) -> Any:
    if isinstance(values[0], dict):
        return {key: item for value in values for key, item in value.items()}
    return list(dict.fromkeys(item for value in values for item in value))


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "+": operator.add,
    "/": operator.floordiv,
    "%": operator.mod,
}

_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "cidrSubnet": lambda network, size, i: str(list(ipaddress.ip_network(network).subnets(new_prefix=size))[i]),
    "concat": lambda *values: [item for value in values for item in value],
    "contains": lambda container, item: item in container,
    "deployer": lambda: DEPLOYER,
    "empty": lambda value: not value,
    "environment": lambda: _CLOUD,
    "filter": lambda items, keep: [item for item in items if keep(item)],
    "guid": lambda *parts: str(uuid.uuid5(uuid.NAMESPACE_URL, "-".join(parts))),
    "map": lambda items, convert: [convert(item) for item in items],
    "range": lambda start, count: list(range(start, start + count)),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, separator: text.split(separator),
    "string": str,
    "subscription": lambda: {"id": SUBSCRIPTION, "subscriptionId": SUBSCRIPTION.rpartition("/")[2]},
    "subscriptionResourceId": lambda type_name, *names: _id(SUBSCRIPTION, type_name, names),
    "tenant": lambda: {"tenantId": "a-tenant"},
    "toLower": str.lower,
    "trim": str.strip,
    "union": _union,
    "uniqueString": lambda *parts: hashlib.sha256("-".join(parts).encode()).hexdigest()[:13],
}
