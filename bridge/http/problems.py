"""The problems of a listener's certificate."""

from __future__ import annotations

from bridge.api import Problem

CERTIFICATE_UNUSABLE = Problem(
    "certificate-unusable",
    meaning="The files of a certificate have changed and cannot be used: they do not fit each "
    "other, cannot be read, or hold no certificate. The one before stays in use until it ends.",
    remedy="Put the renewed certificate with its chain, and its key, where `certificate` and `key` "
    "say; they are taken into use within ten seconds. `bridged check` says whether they can be.",
)
CERTIFICATE_ENDS = Problem(
    "certificate-ends",
    meaning="A certificate ends within three weeks and was not renewed. Nothing is lost yet; once "
    "it has ended, vendors refuse to deliver to this listener.",
    remedy="See why the renewal did not happen, for example by `certbot renew --dry-run`. A "
    "renewed pair is taken into use by itself, without a restart.",
)
CERTIFICATE_ENDED = Problem(
    "certificate-ended",
    meaning="A certificate has ended, so vendors that check it deliver nothing to this listener. "
    "What they do not send again later is missed, and read back if they keep a history.",
    remedy="Renew it now; the new pair is taken into use by itself, without a restart. If it is "
    "valid in truth, the clock of this machine is wrong.",
)
CERTIFICATE_EARLY = Problem(
    "certificate-early",
    meaning="A certificate is not valid yet by the clock of this machine. Vendors that check it "
    "deliver nothing if they agree.",
    remedy="Set the clock right (`timedatectl`); if it is right, use the certificate that was "
    "there before until this one begins.",
)

PROBLEMS = (CERTIFICATE_UNUSABLE, CERTIFICATE_ENDS, CERTIFICATE_ENDED, CERTIFICATE_EARLY)
