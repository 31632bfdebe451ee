"""Fail where the tests reach too few lines: branches are measured and shown, lines are the bar.

``fail_under`` of coverage.py counts both together; the promise of
docs/explanation/reliability.md is of lines.

Usage: ``python scripts/line_coverage.py COVERAGE.json``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LEAST_PERCENT = 95.0


def main(path: str) -> int:
    """Print one line with both shares; 1 if that of lines is below the bar."""
    totals = json.loads(Path(path).read_text("utf-8"))["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    sys.stdout.write(
        f"lines {lines:.1f} %, branches {branches:.1f} %: at least {LEAST_PERCENT:g} %"
    )
    sys.stdout.write(" of lines\n" if lines >= LEAST_PERCENT else " of lines expected\n")
    return 0 if lines >= LEAST_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
