"""Emulator of DT: Data Connectors by REST. What a client makes here pushes at once.

Every function takes the cloud, the ids in the path, the query and the body, and gives
the document of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx
from attrs import evolve

from ..cloud import Cloud, OtherConnector
from ..project import Project
from ..push.connector import Connector
from ..push.requests import Endpoint
from .pages import RestError, page_of, read_parameters

Ids = Mapping[str, str]
Body = Mapping[str, Any]

_MEMBERS = {"name", "displayName", "type", "status", "events", "labels", "httpConfig"}
_HTTP_MEMBERS = {"url", "signatureSecret", "headers"}
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [ -~]*")


def list_connectors(cloud: Cloud, ids: Ids, query: str, _body: Body) -> Body:
    """Return the connectors of a project, of all types."""
    project = project_of(cloud, ids)
    parameters = read_parameters(query, "pageSize", "pageToken")
    found = [connector for connector in cloud.connectors.values() if connector.project is project]
    page, token = page_of(cloud, parameters, found)
    return {
        "dataConnectors": [_document(cloud, connector) for connector in page],
        "nextPageToken": token,
    }


def read_connector(cloud: Cloud, ids: Ids, _query: str, _body: Body) -> Body:
    """Return one connector."""
    return _document(cloud, _find(cloud, ids))


def create_connector(cloud: Cloud, ids: Ids, _query: str, body: Body) -> Body:
    """Make a connector of type HTTP_PUSH."""
    project = project_of(cloud, ids)
    _check(body)
    if body.get("type") != "HTTP_PUSH":
        raise RestError(400, "type must be HTTP_PUSH here")
    http = body.get("httpConfig", {})
    url = _url(cloud, http.get("url"))
    if cloud.rules.unique_urls and any(
        isinstance(connector, Connector) and connector.endpoint.url == url
        for connector in cloud.connectors.values()
    ):
        raise RestError(409, "already exists")
    connector = cloud.add_connector(project, str(url))
    _change(cloud, connector, body)
    return _document(cloud, connector)


def patch_connector(cloud: Cloud, ids: Ids, _query: str, body: Body) -> Body:
    """Change the members that the body has; of ``httpConfig`` as well (assumed)."""
    connector = _find_push(cloud, ids)
    _check(body)
    if body.get("type", "HTTP_PUSH") != "HTTP_PUSH":
        raise RestError(400, "the type of a connector cannot be changed")
    _change(cloud, connector, body)
    return _document(cloud, connector)


def delete_connector(cloud: Cloud, ids: Ids, _query: str, _body: Body) -> Body:
    """Delete a connector; the answer is empty (assumed)."""
    connector = _find(cloud, ids)
    if isinstance(connector, Connector):
        connector.delete()
    del cloud.connectors[connector.id]
    return {}


def sync_connector(cloud: Cloud, ids: Ids, _query: str, _body: Body) -> Body:
    """Push the latest event of each type of each device; answers nothing (assumed)."""
    _find_push(cloud, ids).sync()
    return {}


def read_metrics(cloud: Cloud, ids: Ids, _query: str, _body: Body) -> Body:
    """Return the counts of the last three hours."""
    return {"metrics": _find_push(cloud, ids).metrics.document(cloud.now())}


def project_of(cloud: Cloud, ids: Ids) -> Project:
    """Return the project in a path.

    :raises RestError: if there is none.
    """
    if ids["project"] not in cloud.projects:
        raise RestError(404, "the project was not found")
    return cloud.projects[ids["project"]]


def _find(cloud: Cloud, ids: Ids) -> Connector | OtherConnector:
    project = project_of(cloud, ids)
    connector = cloud.connectors.get(ids["connector"])
    if connector is None or connector.project is not project:
        raise RestError(404, "the data connector was not found")
    return connector


def _find_push(cloud: Cloud, ids: Ids) -> Connector:
    connector = _find(cloud, ids)
    if isinstance(connector, OtherConnector):
        raise RestError(400, f"a connector of type {connector.type} does nothing here")
    return connector


def _document(cloud: Cloud, connector: Connector | OtherConnector) -> Body:
    head = {
        "name": f"projects/{connector.project.id}/dataconnectors/{connector.id}",
        "displayName": connector.display_name,
    }
    if isinstance(connector, OtherConnector):
        return {**head, "type": connector.type, "status": "ACTIVE", "events": [], "labels": []}
    to = connector.endpoint
    http: dict[str, Any] = {"url": str(to.url)}
    if cloud.rules.show_secrets:
        http["signatureSecret"] = to.secret or ""
    return {
        **head,
        "type": "HTTP_PUSH",
        "status": connector.status,
        "events": list(connector.events),
        "labels": list(connector.labels or ()),
        "httpConfig": {**http, "headers": dict(to.headers)},
    }


def _change(cloud: Cloud, connector: Connector, body: Body) -> None:
    connector.endpoint = _changed(cloud, connector.endpoint, body.get("httpConfig", {}))
    connector.display_name = body.get("displayName", connector.display_name)
    connector.events = tuple(body.get("events", connector.events))
    if "labels" in body:
        connector.labels = tuple(body["labels"])
    status = body.get("status", connector.status)
    if status != connector.status:
        connector.enable() if status == "ACTIVE" else connector.disable()


def _changed(cloud: Cloud, endpoint: Endpoint, http: Body) -> Endpoint:
    if "url" in http:
        endpoint = evolve(endpoint, url=_url(cloud, http["url"]))
    if "signatureSecret" in http:
        endpoint = evolve(endpoint, secret=http["signatureSecret"] or None)
    if "headers" in http:
        before = endpoint.headers if cloud.rules.merge_headers else {}
        endpoint = evolve(endpoint, headers={**before, **http["headers"]})
    return endpoint


def _url(cloud: Cloud, text: Any) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (TypeError, httpx.InvalidURL):
        raise RestError(400, "httpConfig.url must be a URL") from None
    if (
        url.scheme not in (("https",) if cloud.rules.https_only else ("https", "http"))
        or not url.host
    ):
        raise RestError(400, "httpConfig.url must be an https URL")
    return url


def _check(body: Body) -> None:
    """Refuse what has another shape than documented.

    :raises RestError: 400.
    """
    http = body.get("httpConfig", {})
    if not isinstance(http, dict) or body.keys() - _MEMBERS or http.keys() - _HTTP_MEMBERS:
        raise RestError(400, "the connector has members that nobody knows")
    texts = [body.get("displayName", ""), http.get("url", ""), http.get("signatureSecret", "")]
    for name in ("events", "labels"):
        if not isinstance(body.get(name, []), list):
            raise RestError(400, f"{name} must be a list")
        texts += body.get(name, [])
    headers = http.get("headers", {})
    if not isinstance(headers, dict):
        raise RestError(400, "headers must be an object")
    if not all(isinstance(text, str) for text in [*texts, *headers.values()]):
        raise RestError(400, "the connector has a member that is no text")
    if not all(_HEADER.fullmatch(f"{name}: {value}") for name, value in headers.items()):
        raise RestError(400, "headers must be names and values of HTTP")
    if body.get("status", "ACTIVE") not in ("ACTIVE", "USER_DISABLED"):
        raise RestError(400, "status can be set to ACTIVE and USER_DISABLED")
