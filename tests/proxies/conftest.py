"""What every test of this folder starts from: the same servers, upstreams and clients as the SDK suites."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sdk"))

from fixtures import mock, start, upstream  # noqa: E402,F401
