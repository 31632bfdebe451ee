"""Files of numbers and ids, one a line, as LibKGE and DGL-KE keep them beside a model."""

from __future__ import annotations

from pathlib import Path

from mulde.errors import CheckpointError


def read_ids(folder: Path, names: tuple[str, ...], count: int) -> list[str]:
    """Return the ids of rows 0 to ``count`` - 1 from the first of the files that there is.

    Args:
        folder: where they lie.
        names: of the files: lines ``number<TAB>id``.
        count: of rows.

    Raises:
        CheckpointError: if there is no such file, or it does not name each row once.
    """
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        expected = f"expected {' or '.join(names)} with lines of number and id, found none"
        raise CheckpointError(folder, f"{expected}; --ids names the folder that has them")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t", 1) for line in lines]
        found = {int(number): name for number, name in rows}
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"expected lines of number, tab, id; found: {error}") from error
    if sorted(found) != list(range(count)) or len(rows) != count:
        problem = f"expected the numbers 0 to {count - 1:,}, once each, as the model has rows"
        raise CheckpointError(path, f"{problem}; found {len(rows):,} lines")
    return [found[row] for row in range(count)]
