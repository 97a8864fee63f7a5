"""Moving events: from the sources into the spool, and from the spool to the sinks.

``ingest`` is the way in, ``delivery`` the way out. ``recovery`` reads back what was
missed, behind what is live. ``instances`` is what every source and sink has besides:
restarts, attempts until one succeeds, what is said of it, devices that fall silent.
"""
