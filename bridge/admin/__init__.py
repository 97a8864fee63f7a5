"""How the bridge is: for people (``/``), for programs (``/status.json``) and for
monitors (``/livez``, ``/readyz``).

status.py   one picture of all instances, taken when somebody looks
page.py     that picture as a page
health.py   the answers to monitors, and which path answers what
"""
