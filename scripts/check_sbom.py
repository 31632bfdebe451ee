"""Compare a CycloneDX list of parts with the lock that the parts were installed from.

Usage: ``python scripts/check_sbom.py SBOM.json LOCK``
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

_PIN = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)", re.MULTILINE)


def main(sbom: str, lock: str) -> int:
    """Print how many parts there are; 1 and the differences if they are not those of the lock."""
    listed = json.loads(Path(sbom).read_text("utf-8"))["components"]
    found = {(re.sub(r"[-_.]+", "-", part["name"]).lower(), part["version"]) for part in listed}
    found = {part for part in found if part[0] != "mulde"}
    expected = set(_PIN.findall(Path(lock).read_text("utf-8")))
    for name, version in sorted(found ^ expected):
        where = lock if (name, version) in expected else sbom
        sys.stderr.write(f"error: {name}=={version} is in {where} alone\n")
    sys.stdout.write(f"{sbom}: {len(found)} parts, those of {lock}\n" if found == expected else "")
    return 0 if found == expected else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
