"""Options that say how files of triples are read, for the commands that read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulde.graph.reading.compressed import Progress

if TYPE_CHECKING:
    from mulde.graph.reading.read import GraphData

_PANEL = "Layout of the files, where it is not found out"

Files = Annotated[
    list[Path],
    typer.Argument(
        help="TSV, CSV, Parquet, JSON lines, RDF or Neo4j exports; plain, .gz, .zst or .bz2."
    ),
]


def _option(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel=_PANEL)


@dataclass(frozen=True)
class LayoutOptions:
    """Options that say how files are to be read."""

    columns: Annotated[
        str | None, _option("Columns of subject, predicate and object: names or numbers, a,b,c.")
    ] = None
    time: Annotated[str | None, _option("Column with the time of each fact.")] = None
    relation: Annotated[str | None, _option("The predicate of all facts, with two columns.")] = None
    separator: Annotated[str | None, _option("Between columns of text.")] = None
    header: Annotated[bool | None, _option("Whether the first line names the columns.")] = None
    encoding: Annotated[str | None, _option("Of text with columns, such as latin-1.")] = None
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="Such as csv or nt.", rich_help_panel=_PANEL),
    ] = None
    language: Annotated[str, _option("Of labels in RDF, the preferred first: en,de.")] = "en"
    literals: Annotated[bool, _option("Keep RDF facts with a literal.")] = False
    blank_nodes: Annotated[bool, _option("Keep RDF facts with a blank node.")] = False
    labels: Annotated[
        list[Path] | None, _option("Of entities and relations: id<TAB>label[<TAB>description].")
    ] = None
    types: Annotated[list[Path] | None, _option("Of entities: id<TAB>type.")] = None

    def read(self, files: list[Path], progress: Progress) -> GraphData:
        """Read files as these options say."""
        from mulde.graph.reading.options import ReadOptions
        from mulde.graph.reading.read import read_graph

        options = ReadOptions(
            columns=tuple(self.columns.split(",")) if self.columns else None,
            time=self.time,
            relation=self.relation,
            separator=self.separator.replace("\\t", "\t") if self.separator else None,
            header=self.header,
            encoding=self.encoding,
            format=self.file_format,
            languages=tuple(self.language.split(",")),
            literals=self.literals,
            blank_nodes=self.blank_nodes,
            progress=progress,
        )
        return read_graph(files, options, labels=self.labels or (), types=self.types or ())
