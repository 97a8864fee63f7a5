"""The bundled plugins, installed as the package ``bridge_plugins``."""

if __name__ != "bridge_plugins":
    raise ImportError("the folder plugins/ is the package bridge_plugins; run: pip install -e .")
