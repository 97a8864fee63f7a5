"""bridge moves sensor readings between clouds and loses none."""

__version__ = "0.1.0"
