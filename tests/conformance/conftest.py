"""The conformance suites use the clients of the suites beside them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "listeners"))
