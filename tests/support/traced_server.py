"""A server that writes down which files of ours its call threads enter.

``python -m tests.support.traced_server BUNDLE LISTING`` prints its port. Each line on its standard
input starts a new list of files; the end of the input writes the last list, and ends the process.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from types import FrameType

from serving.process.monitoring.logs import open_log
from serving.process.port import reserve_port
from serving.process.server import Server
from serving.process.settings_sources import read_settings
from serving.registry.manager import LocalModels, ModelManager
from serving.registry.registry import Registry
from serving.registry.repository import Repository
from tests.support.server import ROOT

_entered: set[str] = set()


def _record(frame: FrameType, event: str, argument: object) -> None:
    if event == "call":
        _entered.add(frame.f_code.co_filename)


def main(bundle: Path, listing: Path) -> None:
    settings = read_settings({"server": {"grpc_port": 0}, "models": {"dir": bundle}})
    reserved = reserve_port(settings.server)
    port = reserved.getsockname()[1]
    managers = []

    def changes(registry: Registry) -> ModelManager:
        managers.append(ModelManager(Repository(bundle), LocalModels(registry.apply)))
        return managers[0]

    server = Server(settings, open_log(settings.log), changes)
    managers[0].start()
    threading.setprofile(_record)
    server.listen(port)
    print(port, flush=True)
    for _ in sys.stdin:
        _entered.clear()
        print("listening", flush=True)
    paths = (Path(name) for name in _entered)
    ours = (path.relative_to(ROOT) for path in paths if path.is_relative_to(ROOT))
    names = {str(path) for path in ours if path.parts[0] in ("mulde", "serving")}
    listing.write_text("".join(f"{name}\n" for name in sorted(names)))
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
