"""Prints the oldest versions of what bridge needs, as constraints for pip: each floor
of setup.cfg, pinned.
"""

from __future__ import annotations

import configparser
from pathlib import Path


def floors() -> list[str]:
    """Give ``name==version`` for each requirement of the installation."""
    parser = configparser.ConfigParser()
    parser.read(Path(__file__).parents[1] / "setup.cfg", "utf-8")
    lines = parser["options"]["install_requires"].split("\n")
    return [line.replace(" ", "").replace(">=", "==") for line in lines if line.strip()]


if __name__ == "__main__":
    print("\n".join(floors()))
