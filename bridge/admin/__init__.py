"""How the bridge is: for people (``/``), for programs (``/status.json``) and for
monitors (``/livez``, ``/readyz``).
Commands ask it through the control socket.
"""
