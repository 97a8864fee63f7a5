"""The problems of this source."""

from __future__ import annotations

from bridge.api import Problem

OPEN_TO_ALL = Problem(
    "wattsense-open-to-all",
    meaning="`signature = none` and no credentials of the caller are set: whoever knows the "
    "address can feed in events. Nothing is lost.",
    remedy="Choose the signature that the datastream uses (`signature`, `secret`), or set "
    "credentials of the caller; then restart the bridge.",
)
DISCOVERY_ON = Problem(
    "wattsense-discovery-on",
    meaning="`discovery` is on: the names of headers and the length of bodies go to the log, for "
    "callers that are refused too. It is meant for setting up; nothing is lost.",
    remedy="Set `discovery = 0` when the signature is known, then restart the bridge.",
)
REQUESTS_REFUSED = Problem(
    "wattsense-requests-refused",
    meaning="Requests are refused, and none was taken since. Whether Wattsense sends them again is "
    "not known; what is missed is read back from its history if `rest_key` is set.",
    remedy="Mend what the text names for the status: `signature` and `secret` for 401, a proxy "
    "that compresses for 415; then restart the bridge. `bridged wattsense backfill` reads back "
    "what was refused.",
)
SETTINGS_UNFIT = Problem(
    "wattsense-settings-unfit",
    meaning="What arrives does not fit the settings: values that are no numbers, or requests that "
    "hold too much and are refused. Values of requests that were taken are kept in their event and "
    "not forwarded as readings.",
    remedy="Change the setting that the text names, then restart the bridge; the problem stays "
    "until then.",
)

PROBLEMS = (OPEN_TO_ALL, DISCOVERY_ON, REQUESTS_REFUSED, SETTINGS_UNFIT)
