from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mulde.graph.graph import SPLITS, Graph, read_folder
from mulde.typing import Triples

ROOT = Path(__file__).parents[2]
CORE = ROOT / "data" / "wordnet-core"
SYMMETRIC = {"antonym", "derivationally_related_form", "similar_to", "verb_group"}
DICTIONARY = Path(os.environ.get("MULDE_WORDNET", "/usr/share/wordnet"))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_folder(CORE)


def pairs(triples: Triples) -> Triples:
    """The distinct unordered pairs of head and tail."""
    return np.unique(np.sort(triples[:, [0, 2]], axis=1), axis=0)


def components(triples: Triples, size: int) -> int:
    graph = coo_array((np.ones(len(triples)), (triples[:, 0], triples[:, 2])), shape=(size, size))
    return int(connected_components(graph, directed=False)[0])


def names(graph: Graph, triples: Triples) -> set[tuple[str, str, str]]:
    ids, relations = graph.entity_ids, graph.relation_ids
    return {(ids[h], relations[r], ids[t]) for h, r, t in triples.tolist()}


def test_the_readme_states_the_counts(graph: Graph) -> None:
    text = (CORE / "README.md").read_text("utf-8")
    assert f"{graph.num_entities:,} synsets" in text
    assert " / ".join(f"{len(graph.split(split)):,}" for split in SPLITS) + " facts" in text
    assert f"| relations | {graph.num_relations}," in text


def test_it_is_small_and_has_enough_to_learn(graph: Graph) -> None:
    size = sum(path.stat().st_size for path in CORE.iterdir())
    assert size < 1_500_000
    assert graph.num_entities >= 5_000
    assert graph.num_relations >= 10


def test_train_alone_connects_every_synset(graph: Graph) -> None:
    assert components(graph.train, graph.num_entities) == 1
    assert graph.unseen == {"valid": 0, "test": 0}


def test_every_synset_has_two_neighbours(graph: Graph) -> None:
    degree = np.bincount(pairs(graph.all_triples).ravel(), minlength=graph.num_entities)
    assert degree.min() >= 2


def test_no_pair_of_synsets_is_linked_in_two_splits(graph: Graph) -> None:
    together = np.concatenate([pairs(graph.split(split)) for split in SPLITS])
    assert len(np.unique(together, axis=0)) == len(together)


def test_no_fact_is_repeated_or_links_a_synset_to_itself(graph: Graph) -> None:
    assert graph.duplicates == dict.fromkeys(SPLITS, 0)
    assert (graph.all_triples[:, 0] != graph.all_triples[:, 2]).all()


@pytest.mark.parametrize("split", SPLITS)
def test_symmetric_facts_stand_in_both_directions_in_one_split(graph: Graph, split: str) -> None:
    facts = {fact for fact in names(graph, graph.split(split)) if fact[1] in SYMMETRIC}
    assert facts
    assert {(tail, relation, head) for head, relation, tail in facts} == facts


def test_other_facts_stand_in_one_direction(graph: Graph) -> None:
    facts = {f for f in names(graph, graph.all_triples) if f[1] not in SYMMETRIC | {"also_see"}}
    assert not {(tail, relation, head) for head, relation, tail in facts} & facts


def test_each_relation_has_its_words(graph: Graph) -> None:
    assert set(graph.relation_labels).isdisjoint(graph.relation_ids)
    assert max(Counter(graph.relation_labels).values()) == 1


def test_what_everybody_knows_is_there(graph: Graph) -> None:
    facts = names(graph, graph.all_triples)
    assert ("lion.n.01", "hypernym", "big_cat.n.01") in facts
    assert ("france.n.01", "part_meronym", "paris.n.01") in facts
    assert ("paris.n.01", "instance_hypernym", "national_capital.n.01") in facts


@pytest.mark.skipif(
    not (DICTIONARY / "data.noun").is_file(),
    reason="WordNet's database is not installed (Debian: wordnet-base) and MULDE_WORDNET not set",
)
def test_the_script_writes_the_committed_bytes_and_all_of_wordnet(tmp_path: Path) -> None:
    made, full = tmp_path / "made", tmp_path / "full"
    command: list[str | Path] = [sys.executable, "-m", "scripts.wordnet", DICTIONARY]
    command += ["--into", made, "--full", full]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    for path in made.iterdir():
        assert path.read_bytes() == (CORE / path.name).read_bytes(), path.name
    graph = read_folder(full)
    assert (graph.num_entities, graph.num_relations) == (116_650, 18)
    assert graph.unseen == {"valid": 0, "test": 0}
    everything = np.concatenate([pairs(graph.split(split)) for split in SPLITS])
    assert len(np.unique(everything, axis=0)) == len(everything)
