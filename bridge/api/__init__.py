"""The contract: all that a plugin may import. Nothing here imports anything else of
ours.

A source kind gives events to its outlet; a sink kind takes batches and answers with
verdicts (``errors``); settings are fields of attrs classes; the core says what happened
through a context. Engines of the spool keep ``bridge.api.spool``, which is not
re-exported here.
"""

from typing import TYPE_CHECKING, Any

from bridge.api.bounded import BoundedDict
from bridge.api.commands import (
    AddCommandHandler,
    Ask,
    Command,
    CommandContext,
    CommandError,
    CommandHandler,
)
from bridge.api.context import Insist, KeyValue, Outlet, Recover, Report, SinkContext, SourceContext
from bridge.api.errors import (
    HttpRejection,
    Outcome,
    Pause,
    Reject,
    Retry,
    SettingError,
    SpoolUnavailable,
)
from bridge.api.events import (
    JSON,
    Arrival,
    Event,
    Reading,
    Stored,
    Value,
    decode,
    encode,
    parse_json,
    raw_data,
)
from bridge.api.fields import (
    LOOPBACK,
    Duration,
    NetworkAddress,
    Secret,
    Size,
    Table,
    Url,
    at_least,
    between,
    setting,
    table,
)
from bridge.api.former import find_former
from bridge.api.history import RECOVERED, History, OpenHistory, Page, Recovery
from bridge.api.hookspecs import API_VERSION, hookimpl
from bridge.api.kinds import AnyKind, Batch, Sink, SinkKind, SourceKind, SpoolKind
from bridge.api.problems import Problem
from bridge.api.text import HIDDEN, printable, redacted, shortened
from bridge.api.waiting import RepeatedEvent, backoff
from bridge.api.webhook import Accepted, Mount, Receive, Request, Response

if not TYPE_CHECKING:  # so that mypy still finds a misspelt name

    def __getattr__(name: str) -> Any:
        return find_former(name)


__all__ = [
    "API_VERSION",
    "HIDDEN",
    "JSON",
    "LOOPBACK",
    "RECOVERED",
    "Accepted",
    "AddCommandHandler",
    "AnyKind",
    "Arrival",
    "Ask",
    "Batch",
    "BoundedDict",
    "Command",
    "CommandContext",
    "CommandError",
    "CommandHandler",
    "Duration",
    "Event",
    "History",
    "HttpRejection",
    "Insist",
    "KeyValue",
    "Mount",
    "NetworkAddress",
    "OpenHistory",
    "Outcome",
    "Outlet",
    "Page",
    "Pause",
    "Problem",
    "Reading",
    "Receive",
    "Recover",
    "Recovery",
    "Reject",
    "RepeatedEvent",
    "Report",
    "Request",
    "Response",
    "Retry",
    "Secret",
    "SettingError",
    "Sink",
    "SinkContext",
    "SinkKind",
    "Size",
    "SourceContext",
    "SourceKind",
    "SpoolKind",
    "SpoolUnavailable",
    "Stored",
    "Table",
    "Url",
    "Value",
    "at_least",
    "backoff",
    "between",
    "decode",
    "encode",
    "hookimpl",
    "parse_json",
    "printable",
    "raw_data",
    "redacted",
    "setting",
    "shortened",
    "table",
]
