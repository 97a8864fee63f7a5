"""Conventions of signing webhooks that are in use, by name.

Which of them Wattsense uses is not published. Each is the convention of the service
that it is named after; ``bare-hex`` and ``token`` leave the name of the header open.
``wattsense-rest`` is the signature of Wattsense's REST API (vendor documentation; that
the webhook could use it, and its tolerance, are assumed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from .signature import Scheme

PRESETS: Mapping[str, Scheme] = {
    "github": Scheme("hmac", header="x-hub-signature-256", prefix="sha256="),
    "bare-hex": Scheme("hmac"),
    "shopify": Scheme("hmac", header="x-shopify-hmac-sha256", encoding="base64"),
    "stripe": Scheme(
        "hmac",
        header="stripe-signature",
        list_separator=",",
        prefix="v1=",
        timestamp_key="t",
        template="{timestamp}.{body}",
    ),
    "standard-webhooks": Scheme(
        "hmac",
        header="webhook-signature",
        encoding="base64",
        list_separator=" ",
        prefix="v1,",
        timestamp_header="webhook-timestamp",
        id_header="webhook-id",
        template="{id}.{timestamp}.{body}",
    ),
    "token": Scheme("token"),
    "wattsense-rest": Scheme(
        "hmac",
        header="x-api-auth",
        hash="sha512",
        encoding="base64",
        timestamp_header="x-api-timestamp",
        template="{method}\n{path}\n{query}\n{body}\n{timestamp}",
        omit_empty_lines=True,
    ),
    "none": Scheme("none"),
}

SEPARATORS: Mapping[str, str] = {"comma": ",", "semicolon": ";", "blank": " "}

OVERRIDES: Mapping[str, str] = {
    "signature_hash": "hash",
    "signature_encoding": "encoding",
    "signature_prefix": "prefix",
    "signature_template": "template",
    "signature_omit_empty_lines": "omit_empty_lines",
    "signature_list_separator": "list_separator",
    "timestamp_header": "timestamp_header",
    "timestamp_key": "timestamp_key",
    "id_header": "id_header",
    "key_id": "key_id",
    "public_path_prefix": "public_path_prefix",
    "signature_header": "header",
    "token_parameter": "parameter",
    "token_member": "member",
    "signed_body": "body",
}
"""Settings that replace a field of the preset, and that field."""


def overridden(preset: str, given: Mapping[str, Any], *, tolerance: float) -> Scheme:
    """Return a preset in which some fields are replaced.

    :param given: values as they stand in the settings, by the names of the fields.
    """
    fields = dict(given)
    for name in ("header", "timestamp_header", "id_header"):
        if name in fields:
            fields[name] = fields[name].lower()
    if "list_separator" in fields:
        fields["list_separator"] = SEPARATORS[fields["list_separator"]]
    # The two places of a timestamp exclude each other: naming one takes the preset's
    # other away.
    if "timestamp_header" in fields:
        fields.setdefault("timestamp_key", "")
    elif "timestamp_key" in fields:
        fields["timestamp_header"] = ""
    return evolve(PRESETS[preset], tolerance=tolerance, **fields)
