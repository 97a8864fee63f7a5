"""Emulator of DT: the whole cloud, with what its REST API and its identity service
know.

    Cloud ─ projects ─ devices ─ events
          ├ connectors, made by code or by REST
          ├ accounts, access tokens
          └ signing keys, rules, faults

What DT does not tell is a rule here, so that a client can be shown each way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal

import httpx
import trio
from attrs import define, field, frozen

from .events import new_xid
from .project import Project
from .push.connector import Connector
from .push.delivery import Delivery, Network
from .push.faults import NO_FAULTS
from .push.requests import Endpoint
from .push.tokens import SigningKeys
from .rest.faults import Meter, Rate, RestFault

Role = Literal["none", "user", "developer"]

ORGANIZATION = "bqa3fhmk4c4g00d9ufgg"


@frozen
class Account:
    """A service account with its key."""

    key: str = "bqa3fhmk4c4g00d9ukey"
    secret: str = field(default="service-account-secret-of-32-chars", repr=False)
    email: str = "bqa3fhmk4c4g00d9user@bqa3fhmk4c4g00d9proj.serviceaccount.d21s.com"
    role: Role = "developer"
    """Of all projects: a user may read, a developer may write as well."""
    basic: bool = False
    """``enableBasicAuth``."""


@frozen
class Rules:
    """How the cloud behaves where one may choose."""

    # Lists
    page_size: int = 100
    """Items of a page where the call does not say."""
    max_page_size: int = 1000
    """Items of a page at most, whatever the call says."""
    repeat_page_token: bool = False
    """Whether a list never ends: each page names the same next one."""

    # History
    history: timedelta = timedelta(days=31)
    indexing_delay: timedelta = timedelta(0)
    """From an event's publication until the history shows it.

    With DT 1 to 2 s, at most about 10 s.
    """
    order: Literal["ascending", "descending", "shuffled"] = "ascending"
    """Of the events in a history: unknown."""
    inclusive: bool = True
    """Whether the ends of a span of time belong to it: unknown."""

    # Tokens
    token_lifetime: float = 3600.0
    """Seconds that an access token is valid."""
    token_leeway: float = 0.0
    """Seconds by which an assertion may be too early or too late."""
    clock_offset: float = 0.0
    """Seconds by which the clock of the identity service is ahead."""

    # Connectors
    https_only: bool = False
    """Whether a connector must push to an https URL, as with DT."""
    unique_urls: bool = False
    """Whether a second connector with the same URL is refused with 409."""
    merge_headers: bool = False
    """Whether a PATCH of ``headers`` adds to them, instead of replacing all of them:
    unknown.
    """
    show_secrets: bool = True
    """Whether answers have ``signatureSecret``, in clear."""

    # Calls
    rate: Rate | None = None
    error_members: tuple[str, ...] = ("error", "code", "help")
    """What the body of an error has."""


@frozen
class OtherConnector:
    """A connector of a type that does not push over HTTP."""

    id: str
    project: Project
    type: str
    """Such as GOOGLE_CLOUD_PUBSUB."""
    display_name: str = ""


@frozen
class AccessToken:
    """What the token endpoint gave out."""

    account: Account
    until: datetime


@define(eq=False, repr=False)
class Cloud:
    """DT's cloud. Made by ``server.open_cloud``."""

    rest_url: str
    """Base of the REST API."""
    identity_url: str
    """Base of the identity service."""
    rules: Rules
    """May be replaced at any time."""
    accounts: list[Account]
    delivery: Delivery
    """Of connectors that are made from now on."""
    network: Network
    keys: SigningKeys | None = None
    """Of ``DT-Asymmetric-Signature``, of connectors that are made from now on; None: it
    is not sent.
    """
    projects: dict[str, Project] = field(factory=dict)
    connectors: dict[str, Connector | OtherConnector] = field(factory=dict)
    """By id, oldest first."""
    rest_faults: list[RestFault] = field(factory=list)
    """What goes wrong with the next calls."""
    calls: list[str] = field(factory=list)
    """Every call so far: ``METHOD /path?query``."""
    tokens: dict[str, AccessToken] = field(factory=dict)
    """Access tokens that were given out."""
    meter: Meter = field(factory=lambda: Meter([]))
    pages: dict[str, Any] = field(factory=dict)
    """What the page tokens stand for."""

    @property
    def random(self) -> Random:
        """Decides whatever is left to chance."""
        return self.network.random

    def now(self) -> datetime:
        """Return the time of day."""
        return self.network.now()

    @property
    def token_url(self) -> str:
        """The token endpoint, which is the ``aud`` of an assertion too."""
        return f"{self.identity_url}/oauth2/token"

    @property
    def issuer(self) -> str:
        """``iss`` of ``DT-Asymmetric-Signature``."""
        return f"{self.identity_url}/data-connector"

    @property
    def discovery_url(self) -> str:
        """Where to read ``jwks_uri``."""
        return f"{self.issuer}/.well-known/openid-configuration"

    def add_project(
        self, project_id: str | None = None, *, display_name: str = "Building"
    ) -> Project:
        """Add a project.

        :param project_id: None: a new one.
        """
        project_id = project_id or new_xid(self.now(), self.random)
        project = Project(project_id, ORGANIZATION, display_name, now=self.now, random=self.random)
        self.projects[project_id] = project
        return project

    def add_connector(
        self,
        project: Project,
        url: str,
        secret: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        display_name: str = "",
        events: Iterable[str] = (),
        labels: Iterable[str] | None = (),
    ) -> Connector:
        """Add a connector of type HTTP_PUSH.

        :param secret: the signature secret; None: without.
        :param events: types that it takes; none: all.
        :param labels: keys of the labels that it sends along; None: all.
        """
        connector = Connector(
            id=new_xid(self.now(), self.random),
            project=project,
            endpoint=Endpoint(httpx.URL(url), secret, dict(headers or {}), self.keys),
            faults=NO_FAULTS,
            display_name=display_name,
            events=tuple(events),
            labels=None if labels is None else tuple(labels),
            delivery=self.delivery,
            network=self.network,
        )
        self.connectors[connector.id] = connector
        return connector

    def add_other_connector(self, project: Project, connector_type: str) -> OtherConnector:
        """Add a connector that does not push over HTTP, and does nothing here."""
        connector = OtherConnector(new_xid(self.now(), self.random), project, connector_type)
        self.connectors[connector.id] = connector
        return connector

    def revoke_tokens(self) -> None:
        """Let every access token expire now."""
        self.tokens.clear()

    async def drained(self) -> None:
        """Wait until nothing is pending in any connector."""
        async with trio.open_nursery() as waiting:
            for connector in self.connectors.values():
                if isinstance(connector, Connector):
                    waiting.start_soon(connector.drained)
