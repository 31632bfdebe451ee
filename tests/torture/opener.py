"""Opens damaged bundles and uses them, in children whose memory is bounded; not a test itself.

``python -m tests.torture.opener many BUNDLE OTHER WORK SEED COUNT`` damages one file after another
of copies of BUNDLE, or puts OTHER's in its place, and stamps each copy again, as one who means harm
would. A child opens each and asks it everything. One line of JSON is printed for each copy:
``file``, ``harm`` and ``verdict``: "refused", "sound", or what went wrong. Children do many copies
each; where one dies, the copy that killed it is known from the lines.

``python -m tests.torture.opener each`` reads folders, a line each, and answers with a line of JSON:
the error with which a child of its own refused it, "sound", or what went wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import Draft
from mulde.bundle.files import DIGEST, MANIFEST, stamp_of
from mulde.bundle.manifest import Manifest
from mulde.errors import BundleError
from serving.engine.engine import Engine

SPARE_BYTES = 1 << 30
"""What a child may take beyond what it has when it begins."""

HARMS = ("flip", "cut", "grow", "splice", "number", "swap")
_NUMBERS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)


def harm_bytes(harm: str, content: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """The content after one kind of harm at a random place."""
    damaged, size = bytearray(content), len(content)
    place = int(generator.integers(size))
    if harm == "flip":
        for at in generator.integers(size, size=generator.integers(1, 9)).tolist():
            damaged[at] ^= 1 << int(generator.integers(8))
    elif harm == "cut":
        del damaged[place:]
    elif harm == "grow":
        damaged[place:place] = generator.bytes(int(generator.integers(1, 65)))
    elif harm == "splice":
        length = int(generator.integers(1, 65))
        source = int(generator.integers(size))
        damaged[place : place + length] = content[source : source + length]
    elif harm == "number":
        width = int(generator.choice([4, 8]))
        number = int(generator.integers(len(_NUMBERS)))
        place -= place % 4
        damaged[place : place + width] = (_NUMBERS[number] % 2 ** (8 * width)).to_bytes(
            width, "little"
        )
    else:
        damaged = bytearray(other)
    return bytes(damaged)


def damaged_copy(bundle: Path, other: Path, copy: Path, name: str, content: bytes) -> None:
    """A copy of a bundle with other content in one file, stamped so that the sums agree."""
    shutil.copytree(bundle, copy)
    (copy / name).write_bytes(content)
    if name == MANIFEST:
        (copy / DIGEST).write_text(hashlib.sha256(content).hexdigest())
        return
    text = (copy / MANIFEST).read_bytes()
    manifest = Manifest.from_json(copy / MANIFEST, text)
    try:
        Draft(copy, copy, overwrite=True).seal(manifest, rebind=True)
    except BundleError:  # a file that has no place for the model's id any more
        stamps = {file: stamp_of(copy / file) for file in manifest.files}
        text = replace(manifest, files=stamps).to_json().encode()
        (copy / MANIFEST).write_bytes(text)
        (copy / DIGEST).write_text(hashlib.sha256(text).hexdigest())


def use(folder: Path) -> None:
    """Open a bundle and ask it all that a server would."""
    bundle = open_bundle(folder)
    engine = Engine(bundle)
    entities, relations = bundle.manifest.entities, bundle.manifest.relations
    asked = np.array([0, entities - 1]), np.array([0, 2 * relations - 1])
    answers = engine.predict(*asked, min(5, entities), exclude_known=True)
    near = engine.similar([0], min(5, entities))
    for found in (answers, near):
        assert np.isfinite(found.scores).all()
        bundle.vocabulary.entities.labels.take(found.rows)
        if bundle.calibration is not None:
            first = np.zeros(len(found.scores), dtype=np.int64)
            bundle.calibration.probability(found.scores, first, priors=True)
    names = bundle.vocabulary.entities.ids.take(np.arange(entities))
    assert bundle.vocabulary.entities.lookup(names).tolist() == list(range(entities))
    if bundle.search is not None:
        bundle.search.find("thing", 5)
        bundle.search.nearest("thign 7")
    if bundle.types is not None:
        for name in bundle.types.names:
            bundle.types.of(name)


def verdict_of(folder: Path) -> str:
    """ "refused" by an error that names a file of the folder, "sound", or a traceback."""
    try:
        use(folder)
    except BundleError as error:
        inside = error.path == folder or folder in error.path.parents
        return "refused" if inside and "\n" not in str(error) else f"blames {error!r}"
    except BaseException:
        return traceback.format_exc()
    return "sound"


def bound_memory() -> None:
    """From here on, this process cannot take much more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def open_many(bundle: Path, other: Path, work: Path, seed: int, count: int) -> None:
    """Damage, open and report ``count`` copies."""
    generator, done = np.random.default_rng(seed), 0
    names = sorted(path.name for path in bundle.iterdir() if path.name != DIGEST)
    for number in range(count):
        # Every file and harm equally often, whatever the count.
        name, harm = names[number % len(names)], HARMS[number // len(names) % len(HARMS)]
        content = (bundle / name).read_bytes()
        damaged = harm_bytes(harm, content, (other / name).read_bytes(), generator)
        damaged_copy(bundle, other, work / str(number), name, damaged)
        (work / f"{number}.json").write_text(json.dumps({"file": name, "harm": harm}))
    while done < count:
        done = run_child(work, done, count)


def run_child(work: Path, first: int, count: int) -> int:
    """Open the copies from ``first`` on in a child; the number of the one after the last."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        bound_memory()
        for number in range(first, count):
            verdict = verdict_of(work / str(number))
            os.write(writer, (json.dumps(verdict) + "\n").encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        for line in lines:
            report(work, first, json.loads(line))
            first += 1
    _, status = os.waitpid(child, 0)
    if status:
        report(work, first, f"the process ended with status {status}")
        first += 1
    return first


def report(work: Path, number: int, verdict: str) -> None:
    path = work / f"{number}.json"
    print(json.dumps({**json.loads(path.read_text()), "verdict": verdict}), flush=True)
    shutil.rmtree(work / str(number))
    path.unlink()


def open_each() -> None:
    """Open what is asked for, each in a child of its own."""
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            bound_memory()
            os.write(writer, message_of(Path(line.rstrip("\n"))).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as told:
            message = told.read()
        _, status = os.waitpid(child, 0)
        print(json.dumps(f"ended with status {status}" if status else message), flush=True)


def message_of(folder: Path) -> str:
    """The error with which a bundle is refused, "sound", or a traceback."""
    try:
        use(folder)
    except BundleError as error:
        return str(error)
    except BaseException:
        return traceback.format_exc()
    return "sound"


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    if kind == "many":
        first, second, third = map(Path, arguments[:3])
        open_many(first, second, third, *map(int, arguments[3:]))
    else:
        open_each()
