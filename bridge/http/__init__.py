"""The HTTP/1.1 front end: listeners on which webhook sources mount their paths.

    listeners.py ─▶ server.py ─▶ connection.py ─▶ handle: Request ─▶ Answer
    (and tls.py)    accept,      deadlines         webhooks.py, for the paths of routing.py
                    drain           │
                                    ├── messages.py (head.py, chunked.py): bytes ─▶ requests, sans-IO
                                    └── answers.py: answers ─▶ bytes, sans-IO

The server knows nothing of webhooks: it takes any ``handle``.
"""
