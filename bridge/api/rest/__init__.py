"""The one HTTP client for vendors, and what their answers have in common.

A request has one deadline and its answer a largest size. Redirects are not followed and
proxies of the environment are not used: credentials go to the host of the settings and
nowhere else. A certificate is checked against the authorities of the system and those
of ``ca_file``. What went wrong is a verdict; what an answer means is the vendor's to
say, from the table of :func:`verdict_of`.
"""

from bridge.api.rest.client import (
    CertificateRefused,
    Network,
    NoResponse,
    ResponseTooLarge,
    RestClient,
    RestResponse,
    Sign,
    open_rest,
)
from bridge.api.rest.pages import read_pages
from bridge.api.rest.retry_after import MAX_RETRY_AFTER, clock_difference, read_retry_after
from bridge.api.rest.spacing import RequestSpacing
from bridge.api.rest.tls import certificate_failure, client_tls
from bridge.api.rest.verdicts import verdict_of

__all__ = [
    "MAX_RETRY_AFTER",
    "CertificateRefused",
    "Network",
    "NoResponse",
    "RequestSpacing",
    "ResponseTooLarge",
    "RestClient",
    "RestResponse",
    "Sign",
    "certificate_failure",
    "client_tls",
    "clock_difference",
    "open_rest",
    "read_pages",
    "read_retry_after",
    "verdict_of",
]
