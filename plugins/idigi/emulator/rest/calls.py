"""The REST server. What comes before a call is understood, and which API it goes to.

call ─▶ faults ─▶ rate ─▶ credentials ─▶ ┌ /ws/Monitor..., /ws/DeviceCore   old_api
                                         └ /ws/v1/...                       history
"""

from __future__ import annotations

import base64
import binascii

import trio

from bridge.api import Request, Response

from ..account import Account
from ..faults import Faults, throttled
from .history import answer_history
from .old_api import DEVICES, PATH, answer_devices, answer_old_api


async def answer_call(account: Account, faults: Faults, request: Request) -> Response:
    """Answer one call."""
    _note(account, request)
    account.throttle.running += 1
    try:
        await trio.sleep(faults.rest_delay)
        if faults.rest:
            scripted = faults.rest.pop(0)
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        rate = account.options.rate
        if rate is not None and not account.throttle.admits(rate, trio.current_time()):
            account.recorder.throttled += 1
            return throttled(rate.retry_after)
        if not _authorized(account, request):
            return Response(401, b"", (("WWW-Authenticate", 'Basic realm="emulator"'),))
        if request.path == PATH or request.path.startswith(f"{PATH}/"):
            return await answer_old_api(account, faults, request)
        if request.path.removesuffix(".json").rstrip("/") == DEVICES:
            return answer_devices(account, request)
        return answer_history(account, faults, request)
    finally:
        account.throttle.running -= 1


def _note(account: Account, request: Request) -> None:
    account.recorder.calls.append(f"{request.method} {request.path}")
    account.recorder.queries.append(request.query)
    if request.body:
        account.recorder.bodies.append(request.body)
    account.recorder.changed()


def _authorized(account: Account, request: Request) -> bool:
    key_id = request.headers.get("x-api-key-id", ("",))[0]
    if key_id in account.api_keys:
        return request.headers.get("x-api-key-secret", ("",))[0] == account.api_keys[key_id]
    scheme, _, encoded = request.headers.get("authorization", ("",))[0].partition(" ")
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    username, _, password = text.partition(":")  # a password may hold colons
    return scheme == "Basic" and (username, password) == (account.username, account.password)
