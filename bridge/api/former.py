"""Names of version 1.0 that are called otherwise now.

They go with the next major version.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

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


def warn_of_former_name(former: str, now: str, *, stacklevel: int = 3) -> None:
    """Tell the author of a plugin.

    :param stacklevel: how far up the plugin's own line is; 3: it called the caller.
    """
    warnings.warn(
        f"{former} is {now} now; the old name goes with version 2",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
