"""Write ``constraints.txt``: the releases that are installed here and were tested together.

Local versions (``2.13.0+cpu``) lose their suffix, so that one file serves every build of torch.

Usage: ``python scripts/freeze.py > constraints.txt``, in the environment that passed `make check`.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions

HEADER = """\
# What is tested, release by release; `make setup` installs exactly these.
# Written by scripts/freeze.py from an environment that passed `make check`.
"""
# What a CUDA build of torch brings is pinned by torch itself.
LEFT_OUT = re.compile(r"mulde|nvidia-.*|cuda-.*|triton")


def main() -> None:
    """Print one ``name==version`` a line, sorted."""
    pins = {
        re.sub(r"[-_.]+", "-", package.name).lower(): package.version.partition("+")[0]
        for package in distributions()
    }
    lines = [f"{name}=={pins[name]}\n" for name in sorted(pins) if not LEFT_OUT.fullmatch(name)]
    sys.stdout.write(HEADER + "".join(lines))


if __name__ == "__main__":
    main()
