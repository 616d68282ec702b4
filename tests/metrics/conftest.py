"""The fixtures of this folder: the same servers as the SDK suites."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sdk"))
