"""The contract: all that a plugin may import. Nothing here imports anything else of ours.

source kind ── events ──▶ outlet          kinds.py, events.py, webhook.py
sink kind   ◀── batches ── core           kinds.py, errors.py (verdicts: Retry, Reject, Pause)
settings                                  fields.py
how a plugin is found                     hookspecs.py
what a source reads back                  history.py
commands of a plugin                      commands.py
TLS towards a vendor                      tls.py
waiting for what happens again            waiting.py
engines of the spool                      spool.py
stand-ins for vendor clouds               emulation.py
"""

from bridge.api.commands import Answering, Ask, Command, CommandContext, CommandError, Respond
from bridge.testing.emulation import Emulation, EmulatorContext, EmulatorKind, HangUp, serve_http
from bridge.api.errors import Outcome, Pause, Refusal, Refused, Reject, Retry, SettingError
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
from bridge.api.history import RECOVERED, History, OpenHistory, Page, Recover, Recovery
from bridge.api.hookspecs import API_VERSION, hookimpl
from bridge.api.kinds import (
    AnyKind,
    Batch,
    KeyValue,
    Outlet,
    Report,
    Sink,
    SinkContext,
    SinkKind,
    SourceContext,
    SourceKind,
    SpoolKind,
)
from bridge.api.spool import (
    Account,
    Audit,
    DeadLetter,
    Lease,
    Spool,
    SpoolContext,
    SpoolError,
    Stale,
    Subscription,
    lane_of,
)
from bridge.api.tls import certificate_failure, client_tls
from bridge.api.waiting import RepeatedEvent
from bridge.api.webhook import Accepted, Answer, Mount, Receive, Request

__all__ = [
    "API_VERSION",
    "JSON",
    "RECOVERED",
    "Accepted",
    "Account",
    "Answer",
    "Answering",
    "AnyKind",
    "Arrival",
    "Ask",
    "Audit",
    "Batch",
    "Command",
    "CommandContext",
    "CommandError",
    "DeadLetter",
    "Duration",
    "Emulation",
    "EmulatorContext",
    "EmulatorKind",
    "Event",
    "HangUp",
    "History",
    "KeyValue",
    "Lease",
    "Mount",
    "NetworkAddress",
    "OpenHistory",
    "Outcome",
    "Outlet",
    "Page",
    "Pause",
    "Reading",
    "Receive",
    "Recover",
    "Recovery",
    "Refusal",
    "Refused",
    "Reject",
    "RepeatedEvent",
    "Report",
    "Request",
    "Respond",
    "Retry",
    "Secret",
    "SettingError",
    "Sink",
    "SinkContext",
    "SinkKind",
    "Size",
    "SourceContext",
    "SourceKind",
    "Spool",
    "SpoolContext",
    "SpoolError",
    "SpoolKind",
    "Stale",
    "Stored",
    "Subscription",
    "Table",
    "Url",
    "Value",
    "at_least",
    "between",
    "certificate_failure",
    "client_tls",
    "decode",
    "encode",
    "hookimpl",
    "lane_of",
    "parse_json",
    "raw_data",
    "serve_http",
    "setting",
    "table",
]
