"""Broken configurations: each gives exactly these lines, all at once."""

from __future__ import annotations

import pytest

GOOD = """
[source:poll]
url = https://poll.example
[sink:store]
token = ${env:TOKEN}
[listener:public]
address = 127.0.0.1:8443
"""

# What is put before the good sections, and every line that it must give.
BROKEN: dict[str, tuple[str, list[str]]] = {
    "unknown key with a near name": (
        "[sink:second]\nplugin = store\ntokn = x\ntoken = x",
        ["office.ini:3: [sink:second] tokn: unknown setting, did you mean 'token'?"],
    ),
    "unknown key in other letters": (
        "[bridge]\nState = /var/lib/bridge",
        ["office.ini:2: [bridge] State: unknown setting, did you mean 'state'?"],
    ),
    "unknown key without a near name": (
        "[admin]\nxyzzy = 1",
        ["office.ini:2: [admin] xyzzy: unknown setting; known: address and socket"],
    ),
    "underscore of the attribute": (
        "[source:second]\nplugin = poll\nurl = http://a\nfrom_ = now",
        ["office.ini:4: [source:second] from_: unknown setting, did you mean 'from'?"],
    ),
    "missing setting": (
        "\n\n[source:second]\nplugin = poll",
        [
            "office.ini:3: [source:second] url: missing; "
            "expected a URL that begins with https:// or http:// (base URL of the API)"
        ],
    ),
    "duration without a unit": (
        "[source:second]\nplugin = poll\nurl = http://a\ninterval = 30",
        [
            "office.ini:4: [source:second] interval: "
            "expected a duration with a unit, such as 500ms, 30s, 5m, 1h30m, got '30'"
        ],
    ),
    "duration below its least": (
        "[source:second]\nplugin = poll\nurl = http://a\ninterval = 500ms",
        ["office.ini:4: [source:second] interval: expected 1 or more, got '500ms'"],
    ),
    "number out of range": (
        "[source:second]\nplugin = poll\nurl = http://a\nratio = 1.5",
        ["office.ini:4: [source:second] ratio: expected a number from 0 to 1, got '1.5'"],
    ),
    "not a number": (
        "[source:second]\nplugin = poll\nurl = http://a\nratio = nan",
        ["office.ini:4: [source:second] ratio: expected a number, got 'nan'"],
    ),
    "not a whole number": (
        "[sink:second]\nplugin = store\ntoken = x\nbatch-size = 1.5",
        ["office.ini:4: [sink:second] batch-size: expected a whole number, got '1.5'"],
    ),
    "the core's own limit": (
        "[sink:second]\nplugin = store\ntoken = x\nbatch = 0",
        ["office.ini:4: [sink:second] batch: expected a number from 1 to 10000, got 0"],
    ),
    "size in an odd unit": (
        "[spool]\nmax_size = 10GB",
        [
            (
                "office.ini:2: [spool] max_size: expected a size with a unit, such as 512B, "
                "16KiB, 10MiB, 2GiB, got '10GB'"
            )
        ],
    ),
    "neither yes nor no": (
        "[sink:second]\nplugin = store\ntoken = x\ncompress = maybe",
        ["office.ini:4: [sink:second] compress: expected yes or no, got 'maybe'"],
    ),
    "comment behind a value": (
        "[sink:second]\nplugin = store\ntoken = x\nmode = array # the old form",
        ["office.ini:4: [sink:second] mode: expected array or history, got 'array # the old form'"],
    ),
    "no member of an enum": (
        "[source:second]\nplugin = poll\nurl = http://a\nlevel = HIGH\ncodec = zip",
        [
            "office.ini:4: [source:second] level: expected low or high, got 'HIGH'",
            "office.ini:5: [source:second] codec: expected none or gzip, got 'zip'",
        ],
    ),
    "no URL": (
        "[source:second]\nplugin = poll\nurl = poll.example",
        [
            (
                "office.ini:3: [source:second] url: expected a URL that begins with https:// or "
                "http://, got 'poll.example'"
            )
        ],
    ),
    "password in a URL": (
        "[source:second]\nplugin = poll\nurl = https://user:hunter2@poll.example",
        [
            "office.ini:3: [source:second] url: expected a URL without user name and password in "
            "it, "
            "got one with a password in it (not shown)"
        ],
    ),
    "empty secret": (
        "[sink:second]\nplugin = store\ntoken =",
        [
            (
                "office.ini:3: [sink:second] token: expected a secret that is not empty, got a "
                "secret (not shown)"
            )
        ],
    ),
    "no network": (
        (
            "[source:second]\nplugin = hook\nlistener = public\nsecret = x\nnetworks = "
            "10.0.0.0/8, 10.1.0.0/33"
        ),
        [
            "office.ini:5: [source:second] networks: expected a network such as 10.0.0.0/8 "
            "or a network such as 2001:db8::/32, got '10.1.0.0/33'"
        ],
    ),
    "bracket without its partner": (
        "[source:second]\nplugin = poll\nurl = http://a\ntopics = [group=a, b",
        ["office.ini:4: [source:second] topics: expected a list in which each '[' has its ']'"],
    ),
    "value over several lines": (
        "[source:second]\nplugin = poll\nurl = http://a\n  /path",
        [
            "office.ini:3: [source:second] url: "
            "expected a URL that begins with https:// or http:// in one line, got 2 lines"
        ],
    ),
    "no address": (
        "[admin]\naddress = 9464",
        [
            "office.ini:2: [admin] address: "
            "expected an address such as 127.0.0.1:8443, [::]:8443 or systemd:webhook, got '9464'"
        ],
    ),
    "no path": (
        "[listener:second]\naddress = 127.0.0.1:1\ncertificate = a\nkey = b\0",
        ["office.ini:4: [listener:second] key: expected a path, got 'b\\x00'"],
    ),
    "what only the plugin knows": (
        "[sink:second]\nplugin = store\ntoken = x\nmode = history\ncompress = yes",
        ["office.ini:5: [sink:second] compress: expected no with mode = history, got yes"],
    ),
    "what only the core knows, at the header": (
        "[listener:second]\naddress = 0.0.0.0:8444\ncertificate = /etc/cert.pem",
        ["office.ini:1: [listener:second] key: missing; certificate and key belong together"],
    ),
    "plain HTTP for the world": (
        "[listener:second]\naddress = 0.0.0.0:8444",
        [
            "office.ini:1: [listener:second] certificate: missing; expected certificate and key, "
            "because "
            "0.0.0.0:8444 is not loopback (plaintext = yes allows plain HTTP, for use behind a "
            "proxy)"
        ],
    ),
    "unknown plugin with a near name": (
        "[source:second]\nplugin = pol",
        [
            (
                "office.ini:2: [source:second] plugin: no source plugin is called 'pol'; did you "
                "mean 'poll'?"
            )
        ],
    ),
    "section name that is no plugin": (
        "[source:attic]\nurl = http://a",
        [
            (
                "office.ini:1: [source:attic] plugin: no source plugin is called 'attic'; known: "
                "hook, lost and poll"
            )
        ],
    ),
    "plugin of another kind": (
        "[sink:second]\nplugin = poll",
        [
            (
                "office.ini:2: [sink:second] plugin: no sink plugin is called 'poll'; the plugin "
                "of this name is a source"
            )
        ],
    ),
    "plugin that could not be loaded": (
        "[sink:second]\nplugin = acme\ntoken = x",
        [
            "office.ini:2: [sink:second] plugin: the plugin 'acme' cannot be used: "
            "/etc/bridge/plugins/acme.py:7: needs the package 'acme-sdk'; install it beside bridge"
        ],
    ),
    "unknown spool": (
        "[spool]\nplugin = postgres",
        ["office.ini:2: [spool] plugin: no spool plugin is called 'postgres'; known: sqlite"],
    ),
    "plugin whose annotations name nothing": (
        "[sink:second]\nplugin = unresolved",
        [
            "office.ini:2: [sink:second] plugin: the settings class UnresolvedSettings has a "
            "mistake (NameError); "
            "report it to the author of the plugin"
        ],
    ),
    "plugin with a type that is no setting": (
        "[sink:bytes]\nprefix = a",
        [
            "office.ini:1: [sink:bytes] plugin: the settings class ByteSettings has a mistake "
            "(TypeError); report it to the author of the plugin"
        ],
    ),
    "plugin that crashes over its settings": (
        "[sink:numbered]\npin = 1234\nname = crash",
        [
            "office.ini:1: [sink:numbered] plugin: the settings class NumberedSettings has a "
            "mistake "
            "(RuntimeError); report it to the author of the plugin"
        ],
    ),
    "plugin that refuses the whole": (
        "[sink:numbered]\npin = 1234\nname = wrong",
        ["office.ini:1: [sink:numbered] expected another name than wrong"],
    ),
    "plugin that cannot name its paths": (
        "[source:lost]\nlistener = public\nsecret = x",
        [
            "office.ini:1: [source:lost] plugin: the plugin cannot name its paths (LookupError); "
            "report it to the author of the plugin"
        ],
    ),
    "listener that is not there": (
        "[source:hook]\nsecret = x\nlistener = publik",
        [
            (
                "office.ini:3: [source:hook] listener: there is no section [listener:publik], "
                "did you mean 'public'?"
            )
        ],
    ),
    "listener that is not there, nor a near name": (
        "[source:hook]\nsecret = x\nlistener = a",
        ["office.ini:3: [source:hook] listener: there is no section [listener:a]; known: public"],
    ),
    "listener that is not named": (
        "[source:hook]\nsecret = x",
        [
            "office.ini:1: [source:hook] listener: missing; expected a text "
            "(NAME of the section [listener:NAME] on which it is called)"
        ],
    ),
    "listener of a source that is not called": (
        "[source:second]\nplugin = poll\nurl = http://a\nlistener = public",
        [
            "office.ini:4: [source:second] listener: unknown setting; known: plugin, enabled, "
            "formerly, watch_devices, retry_base, retry_cap, pause_probe, url, "
            "password, interval, ratio, level, codec, topics, proxy and from"
        ],
    ),
    "source that is not there": (
        "[sink:second]\nplugin = store\ntoken = x\nsources = pol, attic",
        [
            (
                "office.ini:4: [sink:second] sources: there is no section [source:pol], did you "
                "mean 'poll'?"
            ),
            "office.ini:4: [sink:second] sources: there is no section [source:attic]; known: poll",
        ],
    ),
    "one path for two": (
        "[source:old-hook]\nplugin = hook\nsecret = x\nlistener = public\npath = /in\n"
        "[source:hook]\nsecret = x\nlistener = public\npath = /in",
        [
            "office.ini:9: [source:hook] path: '/in' on listener 'public' belongs to "
            "[source:old-hook] (office.ini:5); "
            "choose another path"
        ],
    ),
    "one path for two by default": (
        (
            "[source:old-hook]\nplugin = hook\nsecret = x\nlistener = "
            "public\n[source:hook]\nsecret = x\nlistener = public"
        ),
        [
            "office.ini:5: [source:hook] path: '/hook' on listener 'public' belongs to "
            "[source:old-hook] "
            "(office.ini:1); choose another path"
        ],
    ),
    "one address for two": (
        "[admin]\naddress = 127.0.0.1:8443",
        [
            "office.ini:2: [admin] address: '127.0.0.1:8443' belongs to [listener:public] "
            "(office.ini:9); "
            "choose another address"
        ],
    ),
    "one activated socket for two": (
        (
            "[listener:a]\naddress = systemd:web\nplaintext = yes\n[listener:b]\naddress = "
            "systemd:web\nplaintext = yes"
        ),
        [
            "office.ini:5: [listener:b] address: 'systemd:web' belongs to [listener:a] "
            "(office.ini:2); "
            "choose another address"
        ],
    ),
    "unknown section with a near name": (
        "[sorce:second]\nurl = http://a",
        ["office.ini:1: [sorce:second] unknown section, did you mean [source:second]?"],
    ),
    "unknown single section with a near name": (
        "[brigde]\nstate = /a",
        ["office.ini:1: [brigde] unknown section, did you mean [bridge]?"],
    ),
    "unknown section": (
        "[http]\nport = 80",
        [
            "office.ini:1: [http] unknown section; known: "
            "[bridge], [spool], [admin], [listener:NAME], [source:NAME], [sink:NAME]"
        ],
    ),
    "section without its name": (
        "[sink]\ntoken = x",
        ["office.ini:1: [sink] expected a name, such as [sink:office]"],
    ),
    "section with a name too many": (
        "[bridge:office]\nstate = /a",
        ["office.ini:1: [bridge:office] expected [bridge], without a name"],
    ),
    "name with other characters": (
        "[sink:my sink]\ntoken = x",
        [
            (
                "office.ini:1: [sink:my sink] expected [sink:NAME], where NAME has 1 to 64 "
                "letters, digits, '-' and '_'"
            )
        ],
    ),
    "name of 65 letters": (
        f"[sink:{'a' * 65}]\ntoken = x",
        [
            (
                f"office.ini:1: [sink:{'a' * 65}] expected [sink:NAME], where NAME has 1 to 64 "
                "letters, digits, '-' and '_'"
            )
        ],
    ),
    "table of a listener": (
        "[listener:public:tls]\na = b",
        ["office.ini:1: [listener:public:tls] unknown section; expected [listener:NAME]"],
    ),
    "table of a table": (
        "[sink:store:devices:a]\na = b",
        [
            (
                "office.ini:1: [sink:store:devices:a] unknown section; expected [sink:NAME] or "
                "[sink:NAME:TABLE]"
            )
        ],
    ),
    "unknown table with a near name": (
        "[sink:store:device]\na = b",
        ["office.ini:1: [sink:store:device] unknown table, did you mean [sink:store:devices]?"],
    ),
    "unknown table": (
        "[sink:store:xyzzy]\na = b",
        [
            (
                "office.ini:1: [sink:store:xyzzy] unknown table; known: [sink:store:devices] and "
                "[sink:store:sizes]"
            )
        ],
    ),
    "table of a plugin without tables": (
        "[source:poll:devices]\na = b",
        ["office.ini:1: [source:poll:devices] unknown table; the plugin 'poll' has none"],
    ),
    "table of a section that is not there": (
        "[sink:stor:devices]\na = b",
        [
            (
                "office.ini:1: [sink:stor:devices] there is no section [sink:stor], did you mean "
                "[sink:store:devices]?"
            )
        ],
    ),
    "table written as a setting": (
        "[sink:second]\nplugin = store\ntoken = x\ndevices = a",
        [
            (
                "office.ini:4: [sink:second] devices: expected a section of its own, "
                "[sink:second:devices]"
            )
        ],
    ),
    "value of a table": (
        "[sink:store:sizes]\nurn:x = 1",
        [
            "office.ini:2: [sink:store:sizes] urn:x: "
            "expected a size with a unit, such as 512B, 16KiB, 10MiB, 2GiB, got '1'"
        ],
    ),
    "indented key": (
        "[source:second]\nplugin = poll\nurl = http://a\n  interval = 5m",
        [
            "office.ini:4: [source:second] interval: is indented, so it was read as part of 'url'; "
            "remove the spaces before it"
        ],
    ),
    "indented section": (
        (
            "[source:second]\nplugin = poll\nurl = http://a\n\t[sink:second]\nplugin = "
            "store\ntoken = x"
        ),
        [
            "office.ini:4: [source:second] [sink:second] is indented, so it was read as part of "
            "'url'; "
            "remove the spaces before it"
        ],
    ),
    "indented key below a comment": (
        "[bridge]\n# where the spool is\n  state = /a",
        ["office.ini:3: [bridge] state: is indented; remove the spaces before it"],
    ),
    "list with a comment in it": (
        "[source:second]\nplugin = poll\nurl = http://a\ntopics =\n  a\n  # and\n  b",
        [
            "office.ini:7: [source:second] an indented line goes on with the value above, "
            "but a blank line or a comment ended it"
        ],
    ),
    "line that is nothing": (
        "[bridge]\nstate: /a",
        ["office.ini:2: [bridge] expected KEY = VALUE, [SECTION], or a comment that begins with #"],
    ),
    "value without a key": (
        "[bridge]\n= /a",
        ["office.ini:2: [bridge] expected KEY = VALUE, [SECTION], or a comment that begins with #"],
    ),
    "key with other characters": (
        "[sink:second]\nplugin = store\ntoken hunter2 == \ntoken = x",
        [
            (
                "office.ini:3: [sink:second] token: expected KEY = VALUE, where KEY has letters, "
                "digits, '-' and '_' only"
            )
        ],
    ),
    "settings before the first section": (
        "state = /a\ndrain = 5s",
        ["office.ini:1: stands before the first [SECTION]"],
    ),
    "section that is not closed": (
        "[bridge\nstate = /a",
        ["office.ini:1: expected [SECTION], the name of a section in brackets"],
    ),
    "comment behind a section": (
        "[bridge] # the instance\nstate = /a",
        ["office.ini:1: [bridge] expected nothing after [SECTION]; a comment is a line of its own"],
    ),
    "section twice": (
        "[bridge]\nstate = /a\n[bridge]\ndrain = 5s",
        ["office.ini:3: [bridge] section given twice, first in line 1; join the two"],
    ),
    "key twice": (
        "[sink:second]\nplugin = store\ntoken = x\nbatch-size = 1\nbatch_size = 2",
        ["office.ini:5: [sink:second] batch_size: given twice, first in line 4; remove one"],
    ),
    "reference of an unknown form": (
        "[sink:second]\nplugin = store\ntoken = ${TOKEN}",
        [
            "office.ini:3: [sink:second] token: expected ${credential:NAME}, ${env:NAME}, "
            "${env:NAME:-DEFAULT} or "
            "${file:/PATH} after the dollar sign; write $$ for a dollar sign"
        ],
    ),
    "environment variable that is not set": (
        "[sink:second]\nplugin = store\ntoken = ${env:NO_TOKEN}",
        [
            "office.ini:3: [sink:second] token: there is no environment variable 'NO_TOKEN'; "
            "set it, or write ${env:NO_TOKEN:-DEFAULT}"
        ],
    ),
    "plugin by a reference to nothing": (
        "[sink:second]\nplugin = ${env:PLUGIN}",
        [
            "office.ini:2: [sink:second] plugin: there is no environment variable 'PLUGIN'; "
            "set it, or write ${env:PLUGIN:-DEFAULT}"
        ],
    ),
    "value by reference that does not fit": (
        "[source:second]\nplugin = poll\nurl = ${env:TOKEN}",
        [
            "office.ini:3: [source:second] url: expected a URL that begins with https:// or "
            "http://, "
            "got the content of environment variable TOKEN (not shown)"
        ],
    ),
    "several at once, in the order of their lines": (
        (
            "[sink:second]\nplugin = store\nmode = hisory\nbody_limit = 5\n[admin]\nadress = "
            "127.0.0.1:1\n[brigde]"
        ),
        [
            "office.ini:1: [sink:second] token: missing; expected a secret (access token)",
            "office.ini:3: [sink:second] mode: expected array or history, got 'hisory'",
            "office.ini:4: [sink:second] body_limit: "
            "expected a size with a unit, such as 512B, 16KiB, 10MiB, 2GiB, got '5'",
            "office.ini:6: [admin] adress: unknown setting, did you mean 'address'?",
            "office.ini:7: [brigde] unknown section, did you mean [bridge]?",
        ],
    ),
    "control characters": (
        "[sink:\x1b]\na = b",
        [
            (
                "office.ini:1: [sink:\\x1b] expected [sink:NAME], where NAME has 1 to 64 "
                "letters, digits, '-' and '_'"
            )
        ],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_configuration_is_refused_with_every_mistake_in_a_line(case, load_text):
    text, expected = BROKEN[case]
    loaded = load_text(f"{text}\n{GOOD}", environ={"TOKEN": "hunter2"})
    lines = [str(each) for each in loaded.diagnostics]
    assert lines == expected
    assert loaded.config is None


def test_what_surrounds_the_broken_configurations_is_good(load_text):
    loaded = load_text(GOOD, environ={"TOKEN": "hunter2"})
    assert loaded.diagnostics == ()
    assert loaded.config is not None


def test_mistakes_of_several_files_are_told_together_in_the_order_in_which_files_are_read(
    load_text,
):
    loaded = load_text(
        f"[bridge]\ndrain = 5\n{GOOD}",
        {
            "office.d/50-x.ini": "[sink:second]\nplugin = store",
            "office.d/10-a.ini": "[admin]\nadress = 1",
        },
        environ={"TOKEN": "x"},
    )
    assert [str(each) for each in loaded.diagnostics] == [
        (
            "office.ini:2: [bridge] drain: expected a duration with a unit, such as 500ms, 30s, "
            "5m, 1h30m, got '5'"
        ),
        "office.d/10-a.ini:2: [admin] adress: unknown setting, did you mean 'address'?",
        "office.d/50-x.ini:1: [sink:second] token: missing; expected a secret (access token)",
    ]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "[source:NAME] and [sink:NAME]"),
        ("[source:poll]\nurl = http://a", "[sink:NAME]"),
        ("[sink:store]\ntoken = x", "[source:NAME]"),
    ],
)
def test_a_bridge_that_leads_nowhere_is_refused(text, missing, load_text):
    assert [str(each) for each in load_text(text).diagnostics] == [
        (
            f"office.ini: there is no section {missing}; a bridge needs at least one source and "
            "one sink"
        )
    ]
