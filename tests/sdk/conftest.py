"""What every test of this folder starts from."""

import os

# A proxy of this machine must not stand between the clients and the server.
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)

from fixtures import mock, start, upstream  # noqa: E402,F401
