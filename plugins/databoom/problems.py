"""The problems of this sink."""

from __future__ import annotations

from bridge.api import Problem

UNUSUAL_ANSWER = Problem(
    "databoom-unusual-answer",
    meaning="Databoom accepted values with an answer that is not the documented one. They count as "
    "delivered; whether they were stored cannot be seen from here.",
    remedy="See in Databoom whether values arrive. If not, correct `url`: something else may "
    "answer in its place. `strict_body = yes` takes such answers as failures.",
)
CLOCK_DIFFERS = Problem(
    "databoom-clock-differs",
    meaning="The clock of this machine and Databoom's differ by more than a minute. Readings keep "
    "the times of their vendor; only times that the bridge stamps itself are wrong.",
    remedy="See that the clock is synchronised: `timedatectl` says so. The next answer takes the "
    "problem back.",
)
NOT_VALIDATED = Problem(
    "databoom-not-validated",
    meaning="Databoom accepts the values of some signals and throws them away, because the signals "
    "are not validated, or are not in its list. They count as delivered, and what is pushed "
    "meanwhile is lost there.",
    remedy="Open Databoom and validate the signals that the text names. Events that are still kept "
    "can be delivered once more: `bridged sink rewind NAME`.",
)
LIST_UNREAD = Problem(
    "databoom-list-unread",
    meaning="The list of signals cannot be read, so it is not known whether Databoom records what "
    "it accepts. Deliveries go on.",
    remedy="The text says why. `read_token` must exist and have the scope Read; `signals_url` must "
    "be the list's. Without `read_token` nothing is checked.",
)

PROBLEMS = (UNUSUAL_ANSWER, CLOCK_DIFFERS, NOT_VALIDATED, LIST_UNREAD)
