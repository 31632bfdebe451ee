"""The k largest products: exact by tiles, short queries scored again, IVF with its recall."""

from __future__ import annotations

import pytest
import torch

from training.ops import top_k
from training.ops.top_k import TopK


def clustered(rows: int, queries: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A table of clusters and queries near its rows."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(rows // 50, 16, generator=generator)
    table = centres[torch.randint(len(centres), (rows,), generator=generator)]
    table = table + 0.7 * torch.randn(rows, 16, generator=generator)
    chosen = torch.randint(rows, (queries,), generator=generator)
    return table, table[chosen] + torch.randn(queries, 16, generator=generator)


def sorted_products(table: torch.Tensor, queries: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return (queries @ table.T).gather(1, rows).sort(-1).values


@pytest.mark.parametrize("rows", [50, 8191, 20_000])
def test_the_rows_are_those_of_a_full_sort(rows: int) -> None:
    table, queries = clustered(rows, 300)
    found = TopK(table, 40)(queries)
    expected = (queries @ table.T).topk(40).indices
    assert found.shape == (300, 40)
    assert all(len(set(row)) == 40 for row in found.tolist())
    torch.testing.assert_close(
        sorted_products(table, queries, found), sorted_products(table, queries, expected)
    )


def test_a_query_whose_best_rows_the_sample_misses_is_scored_again() -> None:
    """The 2,000 sampled rows all have a product of 1, all others 0: far fewer than k pass."""
    table = torch.zeros(32_000, 2)
    table[:: top_k._SAMPLED, 0] = 1.0
    table[:, 1] = torch.linspace(0, 0.5, len(table))
    found = TopK(table, 3000)(torch.tensor([[1.0, 1.0]]))
    expected = table.sum(1).topk(3000).values.sort().values
    torch.testing.assert_close(table[found[0]].sum(1).sort().values, expected)


def test_an_ivf_index_finds_most_and_always_gives_k_distinct_rows() -> None:
    table, queries = clustered(20_000, 200)
    found = TopK(table, 50, exact=False)(queries)
    expected = (queries @ table.T).topk(50).indices
    assert found.shape == (200, 50)
    assert int(found.min()) >= 0
    hits = [
        len(set(a) & set(b)) / 50 for a, b in zip(found.tolist(), expected.tolist(), strict=True)
    ]
    assert sum(hits) / len(hits) > 0.9
