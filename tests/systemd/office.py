"""The instance ``bridge@office`` of a machine: a webhook that is proved by a secret
token, and a file it goes to.
"""

from __future__ import annotations

import json
import time

from attrs import frozen

from bridge.config.references import STORE_CREDENTIAL
from tests.systemd.machine import Machine

SECRET = "hunter2-towers"
UNIT = "bridge@office.service"

CONFIG = """\
[listener:public]
address = 127.0.0.1:8443
{listener}
[source:towers]
plugin = wattsense
listener = public
path = /wattsense
signature = token
signature_header = X-Token
secret = ${{credential:towers.secret}}

[sink:file]
plugin = jsonlines
path = /var/lib/bridge/office/out.jsonl
"""


@frozen
class Office:
    machine: Machine

    def configure(self, listener: str = "") -> None:
        """Write the configuration; ``listener`` is a line or more of its section."""
        self.machine.write("/etc/bridge/office.ini", CONFIG.format(listener=listener))

    def store_command(self, name: str) -> list[str]:
        """Return the command that the bridge's messages name.

        Who runs it here is root already.
        """
        command = STORE_CREDENTIAL.format(instance="office", name=name).split()
        assert command[0] == "sudo"
        return command[1:]

    def store(self, name: str, secret: str) -> None:
        self.machine.run(*self.store_command(name), text=secret)

    def start(self) -> None:
        self.machine.run("systemctl", "start", UNIT)

    def show(self, *properties: str) -> list[str]:
        """Return values of properties of the unit, in the order of systemd."""
        options = [f"--property={','.join(properties)}", "--value"]
        return self.machine.run("systemctl", "show", *options, UNIT).stdout.split()

    def post(self, token: str = SECRET) -> str:
        """Send a reading as the vendor would; return the status of the answer."""
        value = {
            "deviceId": "tower-1",
            "property": "energy",
            "payload": 1.5,
            "timestamp": int(time.time() * 1000),
        }
        headers = ["-H", f"X-Token: {token}", "-H", "Content-Type: application/json"]
        quiet = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
        url = "http://127.0.0.1:8443/wattsense/values"
        return self.machine.run(
            "curl", *quiet, *headers, "--data", json.dumps([value]), url, check=False
        ).stdout

    def make_certificate(self, name: str) -> tuple[str, str]:
        """Return a new certificate for ``name`` and its key."""
        paths = ["-keyout", "/tmp/key.pem", "-out", "/tmp/certificate.pem"]
        kind = [
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ]
        self.machine.run("openssl", "req", *kind, "-subj", f"/CN={name}", *paths)
        return tuple(self.machine.run("cat", path).stdout for path in (paths[3], paths[1]))

    def served_certificate(self) -> str:
        """Return the subject of the certificate that the listener shows."""
        ask = "openssl s_client -connect 127.0.0.1:8443 2>/dev/null | openssl x509 -noout -subject"
        return self.machine.run("sh", "-c", ask, check=False).stdout.strip()
