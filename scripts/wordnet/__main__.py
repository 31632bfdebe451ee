"""Make the embedded graph, and the full one, from WordNet 3.0's database files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scripts.wordnet.choose import core
from scripts.wordnet.database import CATEGORIES, NAMES, Database, Links, read_database
from scripts.wordnet.source import dictionary_folder, licence
from scripts.wordnet.split import Splits, split

SEED = "wordnet-core"
_EXAMPLES = re.compile(r"[;:]\s*\"")
CORE_HELD_OUT = 0.06
FULL_HELD_OUT = 0.02  # some 4,000 pairs each

LABELS = {
    "also_see": "see also",
    "antonym": "is the opposite of",
    "attribute": "has the value",
    "cause": "causes",
    "derivationally_related_form": "is derived from or yields",
    "domain_region": "is used in the region",
    "domain_topic": "belongs to the topic",
    "domain_usage": "is used as",
    "entailment": "entails",
    "hypernym": "is a kind of",
    "instance_hypernym": "is an instance of",
    "member_meronym": "has the member",
    "part_meronym": "has the part",
    "participle_of": "is a participle of",
    "pertainym": "pertains to",
    "similar_to": "is similar to",
    "substance_meronym": "is made of",
    "verb_group": "is grouped with",
}


def main(
    source: Annotated[
        Path, typer.Argument(help="Folder with data.noun, or Debian's wordnet-base_*.deb.")
    ] = Path("/usr/share/wordnet"),
    into: Annotated[Path, typer.Option(help="Where the embedded graph goes.")] = Path(
        "data/wordnet-core"
    ),
    full: Annotated[Path | None, typer.Option(help="Write all of WordNet here too.")] = None,
) -> None:
    """Make data/wordnet-core with definitions, byte for byte the same each time.

    With --full also all of WordNet: lemmas as labels, glosses as descriptions, categories as types.
    """
    with dictionary_folder(source) as folder:
        database = read_database(folder)
        text = licence(folder)
    part = core(database)
    _write(into, database, part, CORE_HELD_OUT, text)
    (into / "labels.tsv").write_text(definitions(part, database), "utf-8", newline="\n")
    if full is not None:
        _write(full, database, database.links, FULL_HELD_OUT, text)
        for name, content in texts(database).items():
            (full / name).write_text(content, "utf-8", newline="\n")


def _write(folder: Path, database: Database, links: Links, held_out: float, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    splits = split(links, database.names, held_out, SEED)
    for name, part in splits.items():
        (folder / f"{name}.txt").write_text(lines(part, database), "utf-8", newline="\n")
    (folder / "relation_labels.tsv").write_text(labels(splits), "utf-8", newline="\n")
    (folder / "LICENSE").write_text(text, "utf-8", newline="\n")
    counts = ", ".join(f"{name} {len(part):,}" for name, part in splits.items())
    typer.echo(f"{folder}: {counts}")


def lines(links: Links, database: Database) -> str:
    """``head<TAB>relation<TAB>tail`` for each link, sorted by name."""
    names = database.names
    rows = [f"{names[a]}\t{NAMES[r]}\t{names[b]}\n" for a, r, b in links.tolist()]
    return "".join(sorted(rows))


def labels(splits: Splits) -> str:
    """``relation<TAB>label`` for each relation that occurs."""
    used = {NAMES[number] for part in splits.values() for number in set(part[:, 1].tolist())}
    return "".join(f"{name}\t{LABELS[name]}\n" for name in sorted(used))


def definitions(links: Links, database: Database) -> str:
    """``name<TAB>name<TAB>gloss without examples`` for each synset of links, sorted by name."""
    names, glosses = database.names, database.glosses
    used = np.unique(links[:, [0, 2]]).tolist()
    rows = [f"{names[n]}\t{names[n]}\t{_EXAMPLES.split(glosses[n])[0]}\n" for n in used]
    return "".join(sorted(rows))


def texts(database: Database) -> dict[str, str]:
    """Return ``labels.tsv`` and ``types.tsv`` of the synsets that have a link.

    Their lines are ``synset<TAB>lemmas<TAB>gloss`` and ``synset<TAB>category``.
    """
    names, labels_, glosses = database.names, database.labels, database.glosses
    categories = [CATEGORIES[number] for number in database.categories]
    linked = np.unique(database.links[:, [0, 2]]).tolist()
    return {
        "labels.tsv": "".join(f"{names[n]}\t{labels_[n]}\t{glosses[n]}\n" for n in linked),
        "types.tsv": "".join(f"{names[n]}\t{categories[n]}\n" for n in linked),
    }


if __name__ == "__main__":
    typer.run(main)
