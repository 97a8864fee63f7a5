"""The contract: all that a plugin may import. Nothing here imports anything else of ours.

source kind ── events ──▶ outlet          kinds.py, events.py, webhook.py
sink kind   ◀── batches ── core           kinds.py, errors.py (verdicts: Retry, Reject, Pause)
settings                                  fields.py
how a plugin is found                     hookspecs.py
engines of the spool                      spool.py
stand-ins for vendor clouds               emulation.py
"""

from bridge.api.emulation import Emulation, EmulatorContext, EmulatorKind, HangUp, serve_http
from bridge.api.errors import Pause, Refusal, Refused, Reject, Retry, SettingError
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
from bridge.api.hookspecs import API_VERSION, hookimpl
from bridge.api.kinds import (
    AnyKind,
    Batch,
    Filtered,
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
from bridge.api.webhook import Accepted, Answer, Mount, Receive, Request

__all__ = [
    "API_VERSION",
    "JSON",
    "Accepted",
    "Account",
    "Answer",
    "AnyKind",
    "Arrival",
    "Audit",
    "Batch",
    "DeadLetter",
    "Duration",
    "Emulation",
    "EmulatorContext",
    "EmulatorKind",
    "Event",
    "Filtered",
    "HangUp",
    "KeyValue",
    "Lease",
    "Mount",
    "NetworkAddress",
    "Outlet",
    "Pause",
    "Reading",
    "Receive",
    "Refusal",
    "Refused",
    "Reject",
    "Report",
    "Request",
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
