"""What every test of this folder starts from."""

import os

# A proxy of this machine must not stand between the clients and the server.
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)

from fixtures import mock, start, upstream  # noqa: E402,F401
from dialect_fixtures import scripted, scripted_for_all  # noqa: E402,F401
from matrix_report import (  # noqa: E402,F401
    pytest_configure,
    pytest_runtest_makereport,
    pytest_terminal_summary,
)
