"""The text's part of a query, computed from the head's own row.

Shape letters: B queries, W width of the table, R relations, n text columns, Z columns from the
first text column to the end of the row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mulde.bundle.table.entity_table import Layout
from training.text.columns import TINY, TextColumns


class TextQuery(nn.Module):
    """``s_r q / |q|`` with ``q = x_h M_r + v_r`` in the text columns, and zeros to the row's end.

    Matrices are in half precision, as an encoder stores them.

    Args:
        text: the columns and what relations make of them.
        layout: of the table.
    """

    def __init__(self, text: TextColumns, layout: Layout) -> None:
        super().__init__()
        self.start, self.stop = layout.text.start, layout.text.stop
        padding = 0, layout.width - self.stop
        self.matrix: Tensor
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("matrix", pad(torch.from_numpy(text.matrix), padding).half())
        self.register_buffer("shift", pad(torch.from_numpy(text.shift), padding))
        self.register_buffer("scale", torch.from_numpy(text.scale).unsqueeze(-1))

    def forward(self, head: Tensor, relation: Tensor) -> Tensor:
        """Return [B, Z] of head rows [B, W] and relations [B]."""
        row = head[:, self.start : self.stop].unsqueeze(1)
        matrix = self.matrix[relation].to(head.dtype)
        mapped = torch.bmm(row, matrix).squeeze(1) + self.shift[relation]
        length = torch.sqrt((mapped * mapped).sum(-1, keepdim=True) + TINY)
        return self.scale[relation] * mapped / length
