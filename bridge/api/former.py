"""Names of version 1.0 that are called otherwise now.

They go with the next major version.
"""

from __future__ import annotations

import re
import warnings
from hashlib import sha256
from importlib import import_module
from typing import Any

import orjson

from bridge.api.events import JSON
from bridge.api.problems import TOLD_BY_PLUGIN, Problem

FORMER_NAMES = {
    "Account": "bridge.api.spool.Account",
    "Answer": "bridge.api.Response",
    "Answering": "bridge.api.AddCommandHandler",
    "Audit": "bridge.api.spool.Audit",
    "DeadLetter": "bridge.api.spool.DeadLetter",
    "Emulation": "bridge.testing.emulation.Emulation",
    "EmulatorContext": "bridge.testing.emulation.EmulatorContext",
    "EmulatorKind": "bridge.testing.emulation.EmulatorKind",
    "HangUp": "bridge.testing.http_server.HangUp",
    "Lease": "bridge.api.spool.Lease",
    "Refusal": "bridge.api.HttpRejection",
    "Refused": "bridge.api.SpoolUnavailable",
    "Respond": "bridge.api.CommandHandler",
    "Spool": "bridge.api.spool.Spool",
    "SpoolContext": "bridge.api.spool.SpoolContext",
    "SpoolError": "bridge.api.spool.SpoolError",
    "Stale": "bridge.api.spool.Stale",
    "Subscription": "bridge.api.spool.Subscription",
    "certificate_failure": "bridge.api.rest.certificate_failure",
    "client_tls": "bridge.api.rest.client_tls",
    "lane_of": "bridge.api.spool.lane_of",
    "serve_http": "bridge.testing.http_server.serve_http",
}
"""Name in ``bridge.api`` to where it is now."""


_EXPONENT = re.compile(rb"\de\+?\d")
_NUMBERS = re.compile(rb'"(?:[^"\\]|\\.)*"|(?<=\d)e\+?(?=\d)')


def former_digests(value: JSON, *, before: bytes = b"", sort_keys: bool = True) -> tuple[str, ...]:
    """Return the hashes that version 1.0 may have made of a value, for former keys.

    They are of JSON as orjson wrote it, which writes floats from 1e16 on with a plus
    sign since 3.11.7: nobody knows which one made a key that is kept.

    :param before: what was hashed before the value.
    """
    written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    forms = [written]
    if _EXPONENT.search(written):
        forms = [_with_exponents(written, sign) for sign in (b"e", b"e+")]
    return tuple(dict.fromkeys(sha256(before + form).hexdigest() for form in forms))


def _with_exponents(written: bytes, sign: bytes) -> bytes:
    """Write positive exponents with this sign; texts stay as they are."""
    return _NUMBERS.sub(lambda match: match[0] if match[0].startswith(b'"') else sign, written)


def find_former(name: str) -> Any:
    """Return what a name of version 1.0 stood for.

    :raises AttributeError: if there was no such name.
    """
    now = FORMER_NAMES.get(name)
    if now is None:
        raise AttributeError(f"module 'bridge.api' has no attribute {name!r}")
    warn_of_former_name(f"bridge.api.{name}", now, stacklevel=4)
    module, _, called = now.rpartition(".")
    return getattr(import_module(module), called)


def problem_of(told: Problem | bool | None, *, stacklevel: int = 4) -> Problem | None:
    """Return the problem of a report, which version 1.1 told by True or False.

    :param stacklevel: how far up the plugin's own line is; 4: it called the caller.
    """
    if not isinstance(told, bool):
        return told
    warn_of_former_name("problem=True", "problem=Problem(...)", stacklevel=stacklevel)
    return TOLD_BY_PLUGIN if told else None


def warn_of_former_name(former: str, now: str, *, stacklevel: int = 3) -> None:
    """Tell the author of a plugin.

    :param stacklevel: how far up the plugin's own line is; 3: it called the caller.
    """
    warnings.warn(
        f"{former} is {now} now; the old name goes with version 2",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
