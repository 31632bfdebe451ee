"""The floor of a server's memory: its process, listening, with all libraries and without a model.

Prints its private bytes and ends; run it with ``python -m tests.support.modelless``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mulde.cli import app  # noqa: F401 - the commands are part of the process
from serving.process import main as run  # noqa: F401 - likewise
from serving.process.monitoring.logs import open_log
from serving.process.server import Server
from serving.process.settings_sources import read_settings
from tests.support.memory import private_bytes


def main() -> None:
    flags: dict[str, dict[str, Any]] = {
        "server": {"grpc_port": 0},
        "models": {"dir": Path(), "low_memory": True},
    }
    settings = read_settings(flags)
    changes: Any = None  # no admin call is made
    server = Server(settings, open_log(settings.log), lambda registry: changes)
    server.listen(0)
    print(private_bytes(os.getpid()), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
