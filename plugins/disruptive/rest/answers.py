"""What an answer of DT's REST API means: a verdict for each status.

=========================== ======= ====================================================
status                      verdict what follows
=========================== ======= ====================================================
401 (renewed once), 403     Pause   a person corrects credentials or role
3xx                         Pause   never followed; a person corrects the URL
a success but 200           Retry   DT's own clients accept nothing else
all others                          as :func:`bridge.api.rest.verdict_of` has them
=========================== ======= ====================================================

The meaning of the statuses is known from vendor documentation, that of 408 and of other
4xx is assumed.
"""

from __future__ import annotations

from bridge.api import Pause, Reject, Retry, parse_json
from bridge.api.rest import verdict_of


def verdict_on(request: str, status: int, said: str, wait: float | None) -> Retry | Pause | Reject:
    """Return the verdict of an answer that is not 200.

    :param request: method and path, for the text.
    :param said: DT's own words, fit to be quoted; may be empty.
    :param wait: seconds that DT asked for, or None.
    """
    what = f"{request} was answered {status}" + (f": {said}" if said else "")
    if status == 401:
        return Pause(
            f"{what}; check service_account_key and service_account_secret; basic works only "
            "for a service account that has it enabled"
        )
    if status == 403:
        return Pause(
            f"{what}; the role of the service account is too low: reading takes Project User, "
            "changing a connector Project Developer"
        )
    if 300 <= status < 400:
        return Pause(f"{what}: a redirect, which is not followed; check url")
    verdict = verdict_of(status)
    if verdict is None:
        return Retry(f"{what}, expected 200")
    if verdict is Retry:
        return Retry(what, after=wait)
    return Pause(what) if verdict is Pause else Reject(what, status=status)


def error_text(body: bytes) -> str:
    """Return DT's own words in an answer; empty if there are none.

    They stand in ``error`` and RFC 6749's ``error_description``; both may be missing.
    """
    try:
        answer = parse_json(body)
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    words = [answer.get(name) for name in ("error", "error_description")]
    return "; ".join(word for word in words if isinstance(word, str) and word)
