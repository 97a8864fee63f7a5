"""The HTTP/1.1 front end: listeners on which webhook sources mount their paths.

    listeners ─▶ server ─▶ connection ─▶ handle: Request ─▶ Response
    (and tls)    accept,   deadlines      webhooks, for the paths of routes
                 drain         │
                               ├── request (head, chunked): bytes ─▶ requests, sans-IO
                               └── response: responses ─▶ bytes, sans-IO

The server knows nothing of webhooks: it takes any ``handle``. What is refused here has
a bound in limits, if nobody needs to choose it, else in settings.
"""
