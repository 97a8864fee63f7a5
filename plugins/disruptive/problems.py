"""The problems of this source."""

from __future__ import annotations

from bridge.api import Problem

UNVERIFIED = Problem(
    "disruptive-unverified",
    meaning="`scheme = none`: requests are not verified, so whoever knows the address, and the "
    "custom header if one is set, can feed in events. Nothing is lost.",
    remedy="Set `scheme = hmac` and `secret` to the signature secret of the Data Connector, then "
    "restart the bridge.",
)
REQUESTS_REFUSED = Problem(
    "disruptive-requests-refused",
    meaning="Requests are refused (401) because they are not authentic, and none was authentic "
    "since. If they are DT's, it sends each again for 12 hours, drops it then, and disables a "
    "connector that has failed for 5 days.",
    remedy="Mend what the text names, most often `secret` or the clock, and restart the bridge, "
    "or restart the bridge for a credential. `bridged disruptive backfill` reads back what DT has "
    "dropped, if the section names a service account.",
)
UNREADABLE_REQUEST = Problem(
    "disruptive-unreadable-request",
    meaning="An authentic request could not be read. It is kept with its bytes, as an event of "
    "kind `unreadable` without readings, and answered as if all were well, because DT would send "
    "the same again.",
    remedy="See whether something between DT and the bridge changes bodies. If not, DT sends what "
    "this version does not know: update the bridge, or hand the event to its authors.",
)
KEYS_MISSING = Problem(
    "disruptive-keys-missing",
    meaning="DT's public keys cannot be fetched. Requests that are signed with a known key are "
    "taken; one whose key is not known hears 503, and DT sends it again for 12 hours.",
    remedy="Allow HTTPS from this machine to `discovery_url`, or correct it, or set `proxy` or "
    "`ca_file`; then restart the bridge.",
)
CONNECTOR_UNSEEN = Problem(
    "disruptive-connector-unseen",
    meaning="The Data Connector cannot be looked at, so nobody would notice that it was disabled. "
    "Its pushes are received all the while.",
    remedy="The text says why: DT's API is not reached, or refuses the service account; it must "
    "exist and have the role Project Developer. `bridged disruptive connectors list` "
    "tries the same by hand.",
)
CONNECTOR_GONE = Problem(
    "disruptive-connector-gone",
    meaning="The Data Connector was deleted at DT, so nothing is pushed. What happens until there "
    "is one again is missing, until it is read back from DT's history.",
    remedy="If nobody meant that, run `bridged disruptive connectors apply --name NAME`, and "
    "restart the bridge. What was missed is read back then.",
)
CONNECTOR_DISABLED = Problem(
    "disruptive-connector-disabled",
    meaning="The Data Connector is not active: an operator disabled it, or DT after 5 days of "
    "failed pushes. DT pushes nothing and keeps nothing of that time for it; it is read back from "
    "DT's history once the connector is enabled.",
    remedy="`bridged disruptive connectors enable` enables it. If DT disabled it, see first why "
    "its pushes failed; `reenable = yes` lets the bridge do it.",
)
CONNECTOR_DIFFERS = Problem(
    "disruptive-connector-differs",
    meaning="The Data Connector is not as the settings want it, although it was set so: DT did not "
    "take the change. What it pushes is received; what it is not set to push is missing.",
    remedy="Correct the connector at DT as the text says, or the settings. `bridged disruptive "
    "connectors apply --dry-run` shows what differs.",
)
CONNECTOR_DOUBLED = Problem(
    "disruptive-connector-doubled",
    meaning="Several Data Connectors push to the same URL, so every event arrives more than once. "
    "It is known and delivered once.",
    remedy="Delete the ones that are not needed: `bridged disruptive connectors delete ID`.",
)
PUSHES_FAIL = Problem(
    "disruptive-pushes-fail",
    meaning="DT counts pushes that failed. It tries each again for 12 hours and drops it then, and "
    "disables a connector that has failed for 5 days.",
    remedy="See in `bridged status` whether this source or the spool refuses, and whether "
    "`public_url` is reached from outside with a valid certificate. `bridged disruptive connectors "
    "metrics` shows the counts.",
)

PROBLEMS = (
    UNVERIFIED,
    REQUESTS_REFUSED,
    UNREADABLE_REQUEST,
    KEYS_MISSING,
    CONNECTOR_UNSEEN,
    CONNECTOR_GONE,
    CONNECTOR_DISABLED,
    CONNECTOR_DIFFERS,
    CONNECTOR_DOUBLED,
    PUSHES_FAIL,
)
