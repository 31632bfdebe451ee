"""Five facts, written by the tools that people use, and what was read of them."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import rdflib
from rdflib.namespace import RDF, RDFS, SKOS

from mulde.graph.reading.read import GraphData

Fact = tuple[str, str, str]
FACTS: list[Fact] = [
    ("anna", "knows", "ben"),
    ("ben", "knows", "cem"),
    ("cem", "lives in", "köln"),
    ("anna", "lives in", "bonn"),
    ("ben", "lives in", "köln"),
]
NAMES = ["subject", "predicate", "object"]
EX = rdflib.Namespace("http://example.org/")


def facts(data: GraphData) -> list[Fact]:
    """The facts by name."""
    ids = (data.facts.entity_ids, data.facts.relation_ids, data.facts.entity_ids)
    columns = [one.take(data.facts.triples[:, place]) for place, one in enumerate(ids)]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def frame() -> pd.DataFrame:
    return pd.DataFrame(FACTS, columns=NAMES)


def jsonl(path: Path) -> None:
    rows = [dict(zip(NAMES, fact, strict=True)) for fact in FACTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def zstd(path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(tsv().encode())


def tsv() -> str:
    return "".join("\t".join(fact) + "\n" for fact in FACTS)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "plain.tsv": lambda path: path.write_text(tsv(), encoding="utf-8"),
    "plain.txt": lambda path: path.write_text(tsv(), encoding="utf-8"),
    "crlf.tsv": lambda path: path.write_bytes(tsv().replace("\n", "\r\n").encode()),
    "bom.tsv": lambda path: path.write_text(tsv(), encoding="utf-8-sig"),
    "utf16.tsv": lambda path: path.write_text(tsv(), encoding="utf-16"),
    "no_last_line_end.tsv": lambda path: path.write_text(tsv().rstrip(), encoding="utf-8"),
    "packed.tsv.gz": lambda path: path.write_bytes(gzip.compress(tsv().encode())),
    "packed.tsv.bz2": lambda path: path.write_bytes(bz2.compress(tsv().encode())),
    "packed.tsv.zst": zstd,
    "pandas.csv": lambda path: frame().to_csv(path, index=False),
    "pandas_header.tsv": lambda path: frame().to_csv(path, index=False, sep="\t"),
    "semicolon.csv": lambda path: frame().to_csv(path, index=False, sep=";"),
    "quoted.csv": lambda path: frame().to_csv(path, index=False, quoting=csv.QUOTE_ALL),
    "quoted.tsv": lambda path: frame().to_csv(path, index=False, sep="\t", quoting=csv.QUOTE_ALL),
    "no_header.csv": lambda path: frame().to_csv(path, index=False, header=False),
    "pandas.parquet": lambda path: frame().to_parquet(path),
    "polars.parquet": lambda path: pl.DataFrame(frame().to_dict("list")).write_parquet(path),
    "polars.csv": lambda path: pl.DataFrame(frame().to_dict("list")).write_csv(path),
    "pandas.jsonl": lambda path: frame().to_json(path, orient="records", lines=True),
    "polars.ndjson": lambda path: pl.DataFrame(frame().to_dict("list")).write_ndjson(path),
    "plain.jsonl": jsonl,
}
RDF_FORMATS = {"nt": "nt", "ttl": "turtle", "rdf": "xml", "jsonld": "json-ld"}


def rdf_graph() -> rdflib.Graph:
    graph = rdflib.Graph()
    for head, relation, tail in FACTS:
        graph.add((EX[head], EX[relation.replace(" ", "_")], EX[tail]))
    for language, text in (("de", "Köln"), ("en", "Cologne"), (None, "Colonia")):
        graph.add((EX["köln"], RDFS.label, rdflib.Literal(text, lang=language)))
    graph.add((EX["anna"], SKOS.prefLabel, rdflib.Literal("Anna")))
    graph.add((EX["anna"], RDF.type, EX["Person"]))
    graph.add((EX["anna"], EX["age"], rdflib.Literal(7)))
    graph.add((rdflib.BNode(), EX["knows"], EX["anna"]))
    return graph
