"""ASGI extensions of this project, by which its servers tell its app more.

What they are is in the [specification](https://asgi.readthedocs.io/en/latest/extensions.html); a
server that has none of them is served as well.
"""

ADMITTED_EXTENSION = "pilotlight.admitted"
"""Of requests that have waited in this process before they came to the app: a shutdown that has
begun meanwhile waits for them, and they are not refused."""

SENT_EXTENSION = "pilotlight.sent"
"""Of servers whose ``send`` returns when the end of an answer is with the kernel: what is still to
be done for the request holds its answer up no longer."""
