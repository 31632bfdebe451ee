"""The two tiers of tests: which are slow.

``make test`` runs the fast tier, ``make check`` both. A test is slow if its folder, file or
function is named here: it trains, kills, floods or measures for more than a few seconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent

SLOW = (
    "benchmarks/",
    "clients/test_go_and_java.py",
    "contract/test_committed_",
    "contract/test_readme.py::test_every_command_of_the_readme_runs",
    "contract/test_training_cli.py",
    "contract/test_tutorial.py::test_every_c",
    "data/",
    "fuzz/",
    "packaging/test_prometheus.py",
    "packaging/test_supply.py",
    "packaging/test_wheel.py",
    "serving/test_batch_interrupts.py",
    "serving/test_batch_on_ray.py",
    "serving/gateway/browser/",
    "serving/gateway/test_schema.py",
    "serving/process/test_calls_during_shutdown.py",
    "serving/process/test_descriptors.py",
    "serving/process/test_drain.py",
    "serving/process/access/test_lost_tokens.py::test_former_tokens",
    "serving/process/access/test_tls_versions.py",
    "serving/process/workers/test_frozen_workers.py",
    "serving/process/workers/test_replaced_bundles.py",
    "serving/process/workers/test_workers.py",
    "serving/rpc/test_mixed_load.py",
    "serving/test_low_memory.py",
    "serving/test_server_compaction.py",
    "serving/test_server_facts.py::test_a_version",
    "serving/test_server_facts.py::test_facts_survive",
    "serving/test_server_facts.py::test_the_command",
    "torture/",
    "training/auto/test_fit.py",
    "training/auto/test_interrupts.py",
    "training/auto/test_python.py",
    "training/auto/test_shapes.py",
    "training/report/",
    "training/export/test_choose_again.py",
    "training/test_loop.py::test_a_run_killed",
    "training/test_parallel.py",
    "training/test_pipeline.py::test_processes_side_by_side",
    "training/test_same_files.py",
    "training/update/test_served_update.py",
    "training/update/test_update.py",
    "training/update/test_update_command.py",
)
"""Beginnings of test ids below ``tests/``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tier."""
    for item in items:
        place = item.path.relative_to(ROOT).as_posix() + "::" + item.name
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
