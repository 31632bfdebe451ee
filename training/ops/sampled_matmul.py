"""Products of queries with candidates of their own, without gathering the candidates' vectors.

Each query of a distillation step has K candidates of its own. Gathering their vectors takes a
tensor [B, K, D] forward and another one back, which costs more than all the arithmetic; but the
products are the entries of one matrix product at B K places, and both gradients are products with
the sparse matrix [B, E] that has the scores' gradient at those places.

Shape letters: B queries, K candidates of each, D columns, E entities.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

with warnings.catch_warnings():
    # torch says once per process that its CSR tensors are in beta.
    warnings.simplefilter("ignore", UserWarning)
    torch.sparse_csr_tensor([0, 1], [0], [0.0], (1, 1), check_invariants=True)


def gathered_products(left: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """``<left[b], table[rows[b, k]]>`` [B, K] through the gathered vectors [B, K, D].

    What :func:`sampled_products` computes, in the plain way: its reference, and its way on a GPU.
    """
    return torch.bmm(embedding(rows, table), left.unsqueeze(-1)).squeeze(-1)


def sampled_products(left: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """``<left[b], table[rows[b, k]]>`` [B, K] with no vector of a candidate copied forward.

    Args:
        left: [B, D].
        table: [E, D], dense and of the same type.
        rows: [B, K] int32 or int64 in [0, E), in any order, also with repetitions.
    """
    more_than_there_are = rows.shape[1] > len(table)  # such a sparse matrix torch refuses
    if left.device.type != "cpu" or more_than_there_are:
        return gathered_products(left, table, rows)
    result: Tensor = _SampledProducts.apply(left, table, rows)  # type: ignore[no-untyped-call]
    return result


class _SampledProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, table: Tensor, rows: Tensor) -> Tensor:
        queries, candidates = rows.shape
        ctx.save_for_backward(left, table, rows)
        places = torch.sparse_csr_tensor(
            torch.arange(queries + 1, dtype=rows.dtype) * candidates,
            rows.flatten(),
            left.new_zeros(rows.numel()),
            (queries, len(table)),
            check_invariants=False,
        )
        product = torch.sparse.sampled_addmm(places, left, table.T, beta=0.0)
        found: Tensor = product.values().view(queries, candidates)
        return found

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, table, rows = ctx.saved_tensors
        weights, to_left, to_table = gradient[0], None, None
        if ctx.needs_input_grad[0]:
            to_left = embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
        if ctx.needs_input_grad[1]:
            to_table = _transposed_product(weights, left, rows, len(table))
        return to_left, to_table, None


def _transposed_product(weights: Tensor, left: Tensor, rows: Tensor, entities: int) -> Tensor:
    """[E, D], for each entity the sum of ``weights[b, k] left[b]`` over the places that name it.

    Places are sorted by entity, so each row of the result is written once, whole.
    """
    flat = rows.flatten()
    order = flat.argsort(stable=True)
    count = torch.bincount(flat, minlength=entities)
    return embedding_bag(
        order // rows.shape[1],
        left,
        count.cumsum(0) - count,
        mode="sum",
        per_sample_weights=weights.flatten()[order],
    )
