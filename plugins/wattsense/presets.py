"""Conventions of signing webhooks that are in use, by name.

Which of them Wattsense uses is not published. Each is the convention of the service that it is named after;
``bare-hex`` and ``token`` leave the name of the header open. ``wattsense-rest`` is the signature of Wattsense's REST
API (vendor documentation; that the webhook could use it, and its tolerance, are assumed).
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge_plugins.wattsense.signature import Scheme

PRESETS: Mapping[str, Scheme] = {
    "github": Scheme("hmac", header="x-hub-signature-256", prefix="sha256="),
    "bare-hex": Scheme("hmac"),
    "shopify": Scheme("hmac", header="x-shopify-hmac-sha256", encoding="base64"),
    "stripe": Scheme(
        "hmac",
        header="stripe-signature",
        list_separator=",",
        list_key="v1=",
        timestamp_key="t",
        template="{timestamp}.{body}",
    ),
    "standard-webhooks": Scheme(
        "hmac",
        header="webhook-signature",
        encoding="base64",
        list_separator=" ",
        list_key="v1,",
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
        timestamp_unit="ms",
        template="{method}\n{path}\n{query}\n{body}\n{timestamp}",
        omit_empty_lines=True,
    ),
    "none": Scheme("none"),
}
