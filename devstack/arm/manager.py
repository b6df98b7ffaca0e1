"""Carries out a request: credential, api-version, subscription, type, group, locks, and the checks of the service.

Every refusal is an ``ArmError``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.wrappers import Response

from devstack.arm import (
    authorization,
    errors,
    event_grid,
    ids,
    insights,
    operations,
    providers,
    topic_types,
    types,
    web,
)
from devstack.arm.answers import json_answer
from devstack.arm.errors import ArmError

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping

    from werkzeug.wrappers import Request

    from devstack.arm.store import Document, Store


class Page(Protocol):
    """Returns what is not a resource."""

    def __call__(self, store: Store, match: re.Match[str], query: Mapping[str, str], /) -> Mapping[str, object]:
        """:param query: the parameters of the request."""


_CHECKS: dict[str, Callable[[Store, ids.Address, Mapping[str, Any]], Document]] = {
    types.SYSTEM_TOPIC.key: event_grid.check_topic,
    types.EVENT_SUBSCRIPTION.key: event_grid.check_subscription,
    types.CUSTOM_TOPIC_SUBSCRIPTION.key: event_grid.check_subscription,
    types.DOMAIN_TOPIC_SUBSCRIPTION.key: event_grid.check_subscription,
    types.ROLE_ASSIGNMENT.key: authorization.check_role_assignment,
    types.LOCK.key: authorization.check_lock,
    types.METRIC_ALERT.key: insights.check_metric_alert,
    types.DIAGNOSTIC_SETTING.key: insights.check_diagnostic_setting,
}


_PAGES: tuple[tuple[re.Pattern[str], str, tuple[str, ...], Page], ...] = (
    (
        web.STACKS,
        "Microsoft.Web/locations/functionAppStacks",
        web.STACKS_VERSIONS,
        lambda store, match, _query: web.stacks(store, match["location"]),
    ),
    (
        providers.PATH,
        "Microsoft.Resources/providers",
        providers.VERSIONS,
        lambda store, match, _query: providers.provider(store, match["namespace"], match["scope"]),
    ),
    (
        topic_types.PATH,
        "Microsoft.EventGrid/topicTypes",
        types.SYSTEM_TOPIC.versions,
        lambda _store, match, _query: {"value": topic_types.listed(match["kind"])},
    ),
    (
        authorization.PERMISSIONS_PATH,
        "Microsoft.Authorization/permissions",
        types.ROLE_ASSIGNMENT.versions,
        lambda store, _match, _query: authorization.permissions(store),
    ),
    (
        insights.METRICS_PATH,
        "Microsoft.Insights/metrics",
        insights.METRICS_VERSIONS,
        lambda store, match, query: insights.metrics(store, match["scope"], query),
    ),
)
"""What is not a resource: the pattern of its path, its type, the API versions, and the function that returns it."""


class ResourceManager:
    """Answers requests, one at a time.

    :param tokens: the bearer tokens that are accepted.
    """

    def __init__(self, store: Store, tokens: set[str]) -> None:
        self.store = store
        self._tokens = tokens

    def answer(self, request: Request) -> Response:
        """Return the answer to a request.

        :raises ArmError: it is refused.
        """
        self._authenticate(request)
        version = request.args.get("api-version", "")
        if not version:
            raise errors.missing_api_version()
        for pattern, name, versions, page in _PAGES:
            if match := pattern.fullmatch(request.path):
                _check_version(name, version, versions)
                return json_answer(page(self.store, match, request.args))
        if operations.PATH.fullmatch(request.path):
            return operations.poll(self.store, request)
        address = ids.parse(request.path)
        if address is None:
            raise ArmError(404, "NotFound", f"There is nothing at {request.path}.")
        if self.store.get("/".join(address.text.split("/")[:3])) is None:
            raise errors.subscription_not_found(address.subscription)
        if address.group is not None and self.store.get("/".join(address.text.split("/")[:5])) is None:
            raise errors.group_not_found(address.group)
        if match := web.ACTION.fullmatch(request.path):
            _check_version(types.SITE.name, version, types.SITE.versions)
            return self._act(request, match["site"], match["action"].lower())
        kind = types.TYPES.get(address.kind)
        if kind is None:
            raise errors.unknown_type(address.kind, version)
        _check_version(kind.name, version, kind.versions)
        self._find_parent(address)
        return self._answer_resource(request, address, kind)

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        authority = f"https://login.microsoftonline.com/{self.store.tenant}"
        if not token:
            message = "Authentication failed. The 'Authorization' header is missing."
            raise errors.unauthorized("AuthenticationFailed", message, authority)
        if scheme.lower() != "bearer" or token.strip() not in self._tokens:
            raise errors.unauthorized("InvalidAuthenticationToken", "The access token is invalid.", authority)

    def _find_parent(self, address: ids.Address) -> None:
        parent = ids.parse(address.parent) if address.parent else None
        if parent is None or self.store.get(parent.text) is not None:
            return
        if address.kind.startswith(f"{parent.kind}/"):
            raise errors.parent_not_found(parent.text)
        raise _not_found(parent)

    def _answer_resource(self, request: Request, address: ids.Address, kind: types.ResourceType) -> Response:
        match request.method:
            case "GET" if address.is_collection:
                return self._list(request, address)
            case "GET":
                return json_answer(self._get(address))
            case "PUT" if kind.is_written and not address.is_collection:
                return self._put(request, address, kind)
            case "DELETE" if (kind.is_written or kind is types.GROUP) and not address.is_collection:
                return self._delete(request, address, kind)
        raise errors.method_not_allowed(request.method, request.path)

    def _list(self, request: Request, address: ids.Address) -> Response:
        if address.kind == types.ROLE_ASSIGNMENT.key:
            query = request.args.get("$filter", "")
            found = authorization.list_role_assignments(self.store, address.parent, query)
        elif address.kind == types.FUNCTION.key:
            found = web.listed_functions(self.store, address.parent)
        else:
            found = self.store.of_type(address.kind, address.parent)
        start = int(request.args.get("$skiptoken", "0"))
        end = start + int(request.args.get("$top", self.store.behavior.page_size))
        page: dict[str, object] = {"value": found[start:end]}
        if end < len(found):
            page["nextLink"] = f"{request.base_url}?api-version={request.args['api-version']}&%24skiptoken={end}"
        return json_answer(page)

    def _get(self, address: ids.Address) -> Document:
        if operation := self.store.operation_on(address.text):
            operations.look(self.store, operation)
        document = self.store.get(address.text)
        if address.kind == types.FUNCTION.key:
            listed = web.listed_functions(self.store, address.parent)
            document = next((one for one in listed if one["id"].lower() == address.key), None)
        if document is None:
            raise _not_found(address)
        return document

    def _put(self, request: Request, address: ids.Address, kind: types.ResourceType) -> Response:
        authorization.refuse_locked(self.store, address, "write")
        self._refuse_in_transition(address)
        body = _body(request)
        known = self.store.get(address.text)
        if kind.is_tracked:
            location = str(body.get("location") or "")
            if not location:
                raise errors.location_required()
            if known is not None and known["location"].lower() != location.lower():
                raise errors.other_location(address.name, known["location"], location)
        document = _CHECKS[address.kind](self.store, address, body)
        status = 200 if known is not None else kind.created
        if not kind.is_long_running:
            return json_answer(self.store.save(address, document), status)
        document["properties"]["provisioningState"] = "Creating" if known is None else "Updating"
        document = self.store.save(address, document)
        headers = operations.begin(self.store, request, address, document)
        del headers["Location"]
        return json_answer(document, status, headers)

    def _refuse_in_transition(self, address: ids.Address) -> None:
        for resource in (address.text, address.parent):
            operation = self.store.operation_on(resource)
            if operation is not None:
                operations.look(self.store, operation)
            if operation is not None and operation.status == "InProgress":
                document = self.store.get(resource) or {}
                state = document.get("properties", {}).get("provisioningState", "Deleting")
                raise errors.in_transition(resource.rpartition("/")[2], state)

    def _delete(self, request: Request, address: ids.Address, kind: types.ResourceType) -> Response:
        document = self.store.get(address.text)
        if document is None:
            return Response(status=204)
        authorization.refuse_locked(self.store, address, "delete")
        self._refuse_in_transition(address)
        if not kind.is_long_running:
            self.store.delete(address.text)
            return json_answer(document) if kind is types.ROLE_ASSIGNMENT else Response(status=200)
        document.setdefault("properties", {})["provisioningState"] = "Deleting"
        self.store.save(address, document)
        headers = operations.begin(self.store, request, address, None)
        if kind is types.GROUP:
            del headers["Azure-AsyncOperation"]
        return Response(status=202, headers=headers)

    def _act(self, request: Request, site: str, action: str) -> Response:
        app = ids.parsed(site)
        if self.store.get(site) is None:
            raise _not_found(app)
        if request.method == "POST" and action == "sync":
            web.sync(self.store, site)
            return Response(status=204)
        if request.method == "POST" and action == "listkeys":
            authorization.refuse_locked(self.store, app, "write")
            return json_answer(web.host_keys(self.store))
        raise errors.method_not_allowed(request.method, request.path)


def _not_found(address: ids.Address) -> ArmError:
    if address.kind == types.ROLE_ASSIGNMENT.key:
        return ArmError(404, "RoleAssignmentNotFound", f"The role assignment '{address.name}' is not found.")
    kind = types.TYPES.get(address.kind)
    name = kind.name if kind else address.kind
    return errors.resource_not_found(name, "/".join(address.names), address.group or "<null>")


def _check_version(kind: str, version: str, known: tuple[str, ...]) -> None:
    if version not in known:
        raise errors.unknown_api_version(version, kind, known)


def _body(request: Request) -> dict[str, Any]:
    if request.mimetype != "application/json":
        message = f"The content media type '{request.mimetype}' is not supported. Only 'application/json' is supported."
        raise ArmError(415, "UnsupportedMediaType", message)
    try:
        body = json.loads(request.get_data())
    except ValueError as exc:
        raise errors.invalid_content(str(exc)) from exc
    if not isinstance(body, dict):
        raise errors.invalid_content("an object is expected")
    return body
