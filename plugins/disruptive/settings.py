"""Settings of ``plugin = disruptive``: what they are, and which of them make sense
together.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from attrs import frozen

from bridge.api import LOOPBACK, Duration, Secret, SettingError, Url, at_least, between, setting

ISSUER = "https://identity.disruptive-technologies.com/data-connector"
DISCOVERY_URL = f"{ISSUER}/.well-known/openid-configuration"
"""Vendor documentation. DT's development tenant uses another host."""

API_URL = "https://api.d21s.com/v2"
TOKEN_URL = "https://identity.disruptive-technologies.com/oauth2/token"  # noqa: S105  # an address
"""Vendor documentation."""

_SIGNATURES = ("x-dt-signature", "dt-asymmetric-signature")


def _a_path(_instance: Any, _attribute: Any, value: str) -> None:
    if re.fullmatch(r"/[^\s?#]*", value) is None:
        raise ValueError("a path that begins with /, without ? or #")


def _a_header_name(_instance: Any, _attribute: Any, value: str | None) -> None:
    if value is not None and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value) is None:
        raise ValueError("the name of an HTTP header, such as X-Bridge-Key")


def is_safe(url: str) -> bool:
    """Return whether nobody on the way can change what this URL leads to.

    It is HTTPS, or HTTP on this machine.
    """
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        )
    except ValueError:
        return False


def _an_id(_instance: Any, _attribute: Any, value: str | None) -> None:
    if value is not None and re.fullmatch(r"[0-9A-Za-z_-]+", value) is None:
        raise ValueError("an id such as ccol8iuk9smqiha4e8l0, without organizations/ before it")


def _a_segment(_instance: Any, _attribute: Any, value: str | None) -> None:
    if value is not None and re.fullmatch(r"[0-9A-Za-z_-]+", value) is None:
        raise ValueError(
            "an id such as ccol8iuk9smqiha4e8l0: the last part of a resource name, without slashes"
        )


def _event_types(_instance: Any, _attribute: Any, values: tuple[str, ...]) -> None:
    if not all(re.fullmatch(r"[A-Za-z][0-9A-Za-z]*", value) for value in values):
        raise ValueError("event types such as temperature, networkStatus")


@frozen
class Settings:
    """Settings of ``plugin = disruptive``."""

    path: str = setting(
        "/disruptive", help="path of the connector's URL on the listener", validator=_a_path
    )
    scheme: Literal["hmac", "asymmetric", "either", "both", "none"] = setting(
        "hmac",
        help="hmac verifies X-Dt-Signature; asymmetric DT-Asymmetric-Signature; either one of "
        "them; both; none accepts whoever knows the URL",
    )
    secret: Secret | None = setting(
        None,
        help="signature secret of the Data Connector",
        example="${credential:disruptive.secret}",
    )
    previous_secret: Secret | None = setting(
        None,
        help="the secret before the last change; keep it for the 12 h in which DT may still use it",
    )
    leeway: Duration = setting(
        Duration(120),
        help="how far DT's clock and ours may differ; 0s for not at all",
        validator=at_least(0),
    )
    legacy_sha1: bool = setting(
        False, help="also accept tokens of before February 2022, which have SHA-1 only"
    )
    organization: str | None = setting(
        None,
        help="id of your organization at DT; schemes asymmetric, either and both need it",
        validator=_an_id,
    )
    issuer: str = setting(
        ISSUER, help="who must have signed, as the token of DT-Asymmetric-Signature names it"
    )
    discovery_url: Url = setting(Url(DISCOVERY_URL), help="where DT says where its public keys are")
    timeout: Duration = setting(
        Duration(20),
        help="longest wait for an answer when the bridge asks DT",
        validator=at_least(0.1),
    )
    ca_file: Path | None = setting(
        None,
        help="CA certificates to trust beside the system's when the bridge asks DT, PEM",
        example="/etc/bridge/tls/ca.pem",
    )
    proxy: Url | None = setting(
        None,
        help="HTTP proxy when the bridge asks DT; proxies of the environment are not used",
        example="http://proxy.example.com:3128",
    )
    header_name: str | None = setting(
        None,
        help="name of a custom header of the connector that every request must carry",
        validator=_a_header_name,
    )
    header_value: Secret | None = setting(None, help="value of that header")
    url: Url = setting(Url(API_URL), help="base URL of DT's REST API")
    project: str | None = setting(
        None,
        help="id of the project whose history is read and whose connector is managed",
        validator=_a_segment,
    )
    service_account_key: str | None = setting(
        None, help="key id of the service account for the REST API"
    )
    service_account_secret: Secret | None = setting(
        None, help="secret of that key", example="${credential:disruptive.service-account}"
    )
    service_account_email: str | None = setting(
        None, help="e-mail of the service account; oauth needs it"
    )
    auth: Literal["oauth", "basic"] | None = setting(
        None, help="how to log in to the REST API; default: oauth if the e-mail is set, else basic"
    )
    token_url: Url = setting(Url(TOKEN_URL), help="where oauth gets its access token")
    page_size: int = setting(
        500, help="devices or events in one answer of the REST API", validator=between(1, 1000)
    )
    manage: bool = setting(
        False, help="create, correct and watch the Data Connector through the REST API"
    )
    public_url: Url | None = setting(
        None, help="https URL of path as DT reaches it; manage needs it"
    )
    connector: str | None = setting(
        None,
        help="id of the Data Connector; default: the one that pushes to public_url",
        validator=_a_segment,
    )
    events: tuple[str, ...] = setting(
        (),
        help="event types that the managed connector pushes and that history gives; none: all",
        validator=_event_types,
    )
    connector_labels: tuple[str, ...] = setting(
        (),
        help="keys of the labels that the managed connector pushes; none: none are pushed, "
        "history gives all",
    )
    display_name: str | None = setting(
        None, help="name of the connector at DT; default: bridge NAME"
    )
    reenable: bool = setting(
        False, help="with manage: enable the connector again when DT has disabled it"
    )
    watch_interval: Duration = setting(
        Duration(900),
        help="with manage: time between looks at the connector's status",
        validator=at_least(10),
    )

    def __attrs_post_init__(self) -> None:
        _check_scheme(self)
        _check_header(self)
        _check_account(self)
        _check_management(self)

    @property
    def login(self) -> Literal["oauth", "basic"]:
        """How to log in to the REST API."""
        return self.auth or ("oauth" if self.service_account_email else "basic")

    @property
    def missing_for_rest(self) -> tuple[str, ...]:
        """Names of the settings without which the REST API cannot be asked; empty if it
        can.
        """
        names = ["project", "service_account_key", "service_account_secret"]
        if self.auth == "oauth":
            names.append("service_account_email")
        return tuple(name for name in names if not getattr(self, name))

    @property
    def verifies_hmac(self) -> bool:
        """Whether requests are verified with the secret."""
        return self.scheme in ("hmac", "either", "both")

    @property
    def verifies_asymmetric(self) -> bool:
        """Whether requests are verified with DT's public keys."""
        return self.scheme in ("asymmetric", "either", "both")


def _check_scheme(settings: Settings) -> None:
    if settings.verifies_hmac and settings.secret is None:
        raise SettingError(
            "secret",
            "expected the connector's signature secret, got nothing; scheme = none would verify "
            "nothing",
        )
    if not settings.verifies_hmac and (settings.secret or settings.previous_secret):
        raise SettingError(
            "scheme",
            f"expected hmac because a secret is set, got {settings.scheme}; remove one of the two",
        )
    if settings.verifies_asymmetric and settings.organization is None:
        # All customers of DT have one key in common: any of them could feed in events.
        raise SettingError(
            "organization",
            f"expected the id of your organization because of scheme = {settings.scheme}, got "
            "nothing",
        )
    if not is_safe(settings.discovery_url):
        raise SettingError(
            "discovery_url",
            "expected https://, because whoever changes the keys can feed in events",
        )


def _check_header(settings: Settings) -> None:
    if settings.header_name is not None and settings.header_value is None:
        raise SettingError(
            "header_value", f"expected the value of the header {settings.header_name}, got nothing"
        )
    if settings.header_value is not None and settings.header_name is None:
        raise SettingError(
            "header_name", "expected the name of the header for header_value, got nothing"
        )
    if settings.header_name is not None and settings.header_name.lower() in _SIGNATURES:
        raise SettingError(
            "header_name", f"expected a header of your own, got {settings.header_name}"
        )
    if (
        settings.header_value is not None
        and settings.header_value.reveal() != settings.header_value.reveal().strip()
    ):
        raise SettingError(
            "header_value", "expected a text without blanks at its ends: HTTP removes them"
        )


def _check_account(settings: Settings) -> None:
    given = [
        name
        for name in ("service_account_key", "service_account_secret", "service_account_email")
        if getattr(settings, name)
    ]
    if given and settings.missing_for_rest:
        name = settings.missing_for_rest[0]
        raise SettingError(name, f"expected it beside {', '.join(given)}, got nothing")
    if ":" in (settings.service_account_key or ""):
        raise SettingError(
            "service_account_key", "expected a key id without a colon, as HTTP Basic demands"
        )
    for name in ("url", "token_url"):
        if not is_safe(getattr(settings, name)):
            raise SettingError(
                name, "expected https://, because the service account's credentials are sent along"
            )


def _check_management(settings: Settings) -> None:
    if settings.public_url is not None and urlsplit(settings.public_url).scheme != "https":
        raise SettingError(
            "public_url", f"expected https://, as DT demands, got {settings.public_url}"
        )
    if settings.manage:
        missing = [*settings.missing_for_rest, *([] if settings.public_url else ["public_url"])]
        if missing:
            raise SettingError(missing[0], "expected it because of manage = yes, got nothing")
    elif settings.reenable:
        raise SettingError(
            "reenable", "expected manage = yes beside it: without, nobody looks at the connector"
        )
