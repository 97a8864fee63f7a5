"""Which sections and settings there are, what is the least of each, and where in them
canaries can be planted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from bridge.config import Kinds, Loaded, show_config
from bridge.config.fields import SettingField, setting_fields
from bridge.daemon.config import CORE, load
from bridge.plugins.discovery import load_plugins
from tests.end_to_end.canaries import Cage, Canary, Net, fitting

KINDS = load_plugins(())

MINIMAL: Mapping[str, Mapping[str, str]] = {
    "bridge": {},
    "admin": {},
    "listener:public": {"address": "127.0.0.1:0"},
    "spool": {},
    "source:disruptive": {"listener": "public", "scheme": "none"},
    "source:idigi": {"username": "ops", "password": "not-planted"},
    "source:wattsense": {"listener": "public", "signature": "none"},
    "sink:databoom": {"token": "not-planted"},
    "sink:jsonlines": {"path": "/nowhere/events.jsonl"},
}
"""Of each section, as little as makes it good. A source or sink is called as its kind.
"""


def classes(section: str) -> list[type]:
    """Give the classes whose settings a section has: the core's, and the plugin's."""
    role, _, name = section.partition(":")
    if role == "source":
        kind = KINDS.sources[name]
        return [CORE.source(kind), kind.settings]
    if role == "sink":
        return [CORE.sink, KINDS.sinks[name].settings]
    if role == "spool":
        return [CORE.spool, *(kind.settings for kind in KINDS.spools.values())]
    return [{"bridge": CORE.bridge, "admin": CORE.admin, "listener": CORE.listener}[role]]


def settings_of(section: str) -> list[SettingField]:
    by_key = {setting.key: setting for each in classes(section) for setting in setting_fields(each)}
    return list(by_key.values())


def key_of(setting: SettingField) -> str:
    return f"{setting.key}:x" if setting.is_table else setting.key


@frozen
class Written:
    """A configuration in which something is planted."""

    cage: Cage
    net: Net

    @property
    def path(self) -> Path:
        return self.cage.folder / "bridge.ini"

    def write(self, section: str, planted: Mapping[str, str]) -> None:
        """Write a section with its minimum and these settings; ``FIELD:KEY`` is one of
        a table. Others are minimal.
        """
        sections: dict[str, dict[str, str]] = {
            name: dict(MINIMAL[name]) for name in beside(section)
        }
        for key, text in planted.items():
            table, colon, name = key.partition(":")
            where, key = (f"{section}:{table}", name) if colon else (section, key)
            sections.setdefault(where, {})[key] = text
            if not text:  # what the minimum has, and this cannot have
                del sections[where][key]
        self.path.touch(0o600)
        self.path.write_text(
            "".join(
                f"[{name}]\n" + "".join(f"{key} = {text}\n" for key, text in settings.items())
                for name, settings in sections.items()
            )
        )

    def load(self) -> Loaded:
        kinds = Kinds(KINDS.sources, KINDS.sinks, KINDS.spools)
        return load(self.path, kinds, environ=self.cage.environ)

    def said_at_load(self) -> str:
        """Load, and give all that this says."""
        loaded = self.load()
        return "\n".join(
            [*map(str, loaded.diagnostics), repr(loaded), repr(loaded.config), show_config(loaded)]
        )


def beside(section: str) -> list[str]:
    """The sections that make a bridge with this one: the cheapest source and sink."""
    ends = ["sink:jsonlines" if section.startswith("source:") else "source:idigi"]
    if not section.startswith(("source:", "sink:")):
        ends.append("sink:jsonlines")
    return [*(["listener:public"] if "listener" in MINIMAL[section] else []), *ends, section]


FAST = {"retry_base": "20ms", "retry_cap": "50ms", "pause_probe": "50ms"}

LIVE: Mapping[str, Sequence[Mapping[str, str]]] = {
    "source:disruptive": [
        {
            "scheme": "both",
            "secret": "WORD",
            "previous_secret": "WORD",
            "header_name": "X-WORD",
            "header_value": "WORD",
            "organization": "WORD",
            "discovery_url": "FAR/s400-WORD",
            "manage": "yes",
            "public_url": "https://WORD.example/WORD",
            "project": "WORD",
            "service_account_key": "WORD",
            "service_account_secret": "WORD",
            **account,
        }
        for account in (
            {
                "service_account_email": "WORD@WORD.example",
                "token_url": "FAR/s400-WORD",
                "url": "FAR/s400-WORD",
            },
            {
                "service_account_email": "WORD@WORD.example",
                "token_url": "FAR/s500-WORD",
                "url": "FAR/s400-WORD",
            },
            {
                "service_account_email": "WORD@WORD.example",
                "token_url": "FAR/nice-WORD",
                "url": "FAR/s400-WORD",
            },
            {"auth": "basic", "url": "FAR/s400-WORD"},
            {"auth": "basic", "url": "FAR/s403-WORD"},
            {"auth": "basic", "url": "FAR/s200-WORD"},
            {"auth": "basic", "url": "FAR/s302-WORD"},
        )
    ],
    "source:idigi": [
        {
            "username": "WORD",
            "password": "WORD",
            "insecure": "yes",
            "push_host": "127.0.0.1",
            **FAST,
            "pause_probe": "1s",
        }
        | {
            "push_port": "PUSH",
            "stream_history_path": "/{stream}/WORD",
            "streams": "WORD",
            **service,
        }
        for service in (
            {"url": "FAR/nice-WORD"},
            {"url": "FAR/s400-WORD"},
            {"url": "FAR/s400-WORD", "api_key_id": "WORD", "api_key_secret": "WORD"},
            {"url": "FAR/s200-WORD"},
            {"url": "FAR/s500-WORD"},
        )
    ],
    "source:wattsense": [
        {
            "signature": "token",
            "signature_header": "X-WORD",
            "secret": "WORD",
            "username": "WORD",
            "password": "WORD",
            "api_key_header": "X-WORD",
            "api_key": "WORD",
            "rest_key": "WORD",
            "rest_secret": "WORD",
            "rest_auth": "basic",
            "url": "FAR/s400-WORD",
        },
        {
            "signature": "wattsense-rest",
            "key_id": "WORD",
            "secret": "WORD",
            "bearer_token": "WORD",
            "rest_key": "WORD",
            "rest_secret": "WORD",
            "url": "FAR/s302-WORD",
        },
        {"signature": "none", "rest_key": "WORD", "rest_secret": "WORD", "url": "FAR/s200-WORD"},
        {
            "signature": "bare-hex",
            "signature_header": "X-WORD",
            "secret": "WORD",
            "signature_template": "{id}.{body}.WORD",
            "id_header": "X-WORD-id",
            "alarm_signals:x": "$.WORD",
            "alarm_numbers:x": "NUMBER",
            "event_signals:x": "$.WORD",
            "event_numbers:x": "NUMBER",
        },
        {"signature": "stripe", "secret": "WORD", "timestamp_key": "WORD"},
        {"signature": "token", "secret": "WORD", "token_parameter": "WORD"},
        {"signature": "token", "secret": "WORD", "token_member": "WORD"},
    ],
    "sink:databoom": [
        {
            "url": "FAR/WORD/push",
            "token": "WORD",
            "read_token": "WORD",
            "linger": "0s",
            "reject_limit": "0",
            **FAST,
        },
        {
            "url": "FAR/s400-WORD/push",
            "token": "",
            "apikey": "WORD",
            "linger": "0s",
            "reject_limit": "0",
            **FAST,
        },
        {
            "url": "FAR/s404-WORD/push",
            "token": "WORD",
            "form": "template",
            "template": "WORD",
            "linger": "0s",
            **FAST,
        },
        {
            "url": "FAR/s200-WORD/push",
            "token": "WORD",
            "linger": "0s",
            "strict_body": "yes",
            **FAST,
        },
    ],
    "sink:jsonlines": [{"path": "/nowhere/WORD", **FAST, "linger": "0s"}],
}
"""What gets as far as the far side, and is refused there.

A setting with a WORD is planted.
"""

NOT_BESIDE = {"ca_file", "push_host", "monitor_id"}
"""Settings that would keep such a section from getting there.

They are planted in another.
"""

NEVER_RUN: Mapping[str, str] = {
    "plugin": "the name of a kind",
    "listener": "the name of a section",
    "sources": "names of sections",
    "lanes": "a small number",
    "batch_duration": "at most a day",
    "min_interval": "at most 10 s",
    "drain": "the test waits for it",
    "certificate": "see the tests of the key",
    "key": "see the tests of the key",
    "devices_file": "a file that is read when it starts",
}
"""Settings in which no text can be planted so that the bridge starts, and why."""

Plan: TypeAlias = Mapping[str, str]
"""Setting to text, with WORD and NUMBER for those of its canary."""


def planted_in(plan: Plan) -> set[str]:
    return {key for key, text in plan.items() if "WORD" in text or "NUMBER" in text}


class Planner:
    """Finds out in which settings a canary can be planted so that the bridge starts."""

    def __init__(self, folder: Path) -> None:
        self._written = Written(Cage(folder), Net())

    @cache  # noqa: B019  # one planner
    def plans(self, section: str) -> list[Plan]:
        """Give sections that have as many canaries as they can, until no setting is
        left that can have one.
        """
        settings = [setting for setting in settings_of(section) if setting.key not in NEVER_RUN]
        plans: list[Plan] = []
        begun = [(live, NOT_BESIDE) for live in LIVE.get(section, ())]
        for begin, leave in (*begun, (MINIMAL[section], set()), (MINIMAL[section], set())):
            planted = {key for plan in plans for key in planted_in(plan)}
            rest = [setting for setting in settings if key_of(setting) not in planted]
            plans.append(self._filled(section, begin, rest, leave))
        return [plan for plan in plans if planted_in(plan)]

    def _filled(
        self, section: str, begun: Plan, settings: Sequence[SettingField], leave: set[str]
    ) -> Plan:
        plan = {**MINIMAL[section], **begun}
        if "proxy" in {setting.key for setting in settings}:
            plan["proxy"] = "FAR/WORD"  # the far side itself, so that requests arrive there
        assert self._loads(section, plan), (section, plan)
        sample = Canary(section, "sample")
        for setting in settings:
            if key_of(setting) in plan or setting.key in leave:
                continue
            for text in fitting(setting.type, sample):
                text = text.replace(sample.word, "WORD").replace(sample.number, "NUMBER")
                planted = "\n" not in text and ("WORD" in text or "NUMBER" in text)
                if planted and self._loads(section, {**plan, key_of(setting): text}):
                    plan[key_of(setting)] = text
                    break
        return plan

    def _loads(self, section: str, plan: Plan) -> bool:
        self._written.write(
            section, {key: filled_in(text, Canary(section, "sample")) for key, text in plan.items()}
        )
        return not self._written.load().errors


def filled_in(
    text: str, canary: Canary, far: str = "http://127.0.0.1:1", push_port: int = 1
) -> str:
    """Put a canary, and where the far side is, into the text of a plan."""
    text = text.replace("WORD", canary.word).replace("NUMBER", canary.number)
    return text.replace("FAR", far).replace("PUSH", str(push_port))
