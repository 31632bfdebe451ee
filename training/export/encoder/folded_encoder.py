"""The short form of an encoder: what depends on the relation alone is computed once, as a table.

Most of an operator's time in ONNX Runtime is its call, so the encoder has few of them. What is left
for a query of a scorer that **turns and moves** a point X (RotH, RefH, TransH) is

    T = turned + RX (1 + b + <RX, turned> / (2 + x))        RX = cos X + sin swap(X)
    Q = after + T (1 + a + <T, after> / (2 + t))

with x, t, a and b the excess of X, T, ``after`` and the first step, and ``turned`` that step after
the turn, which keeps inner products and excess. x is read off the table instead of being computed
again. A scorer that **maps** a vector (RESCAL) needs fewer still.

Shape letters: B queries, W width of the table, D dimension, R relations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from mulde.bundle.table.entity_table import Layout
from training.ops import hyperbolic
from training.scorers import Scorer
from training.scorers.rescal import RESCAL
from training.scorers.roth import RefH, RotH
from training.scorers.transh import TransH
from training.text.query import TextQuery

_LEAST_TURN = 0.5


class FoldedEncoder(nn.Module, ABC):
    """Queries of head rows and relations from a table of the relations' constants.

    Args:
        layout: of the table whose rows come in.
        constants: [2R, n] each, by name; ``last`` ends a query before its text.
        text: the text's part of a query; None for none.
    """

    def __init__(
        self, layout: Layout, constants: dict[str, Tensor], text: TextQuery | None
    ) -> None:
        super().__init__()
        self._layout, self._text = layout, text
        self._widths = {name: part.shape[1] for name, part in constants.items()}
        self.table: Tensor
        self.register_buffer("table", torch.cat([*constants.values()], 1).double().float())
        self.head_bias: Tensor
        self.register_buffer("head_bias", _columns(layout, layout.head_bias).squeeze(1))

    def forward(self, head: Tensor, relation: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return query [B, W], offset [B], bias [B] and slope [B] of head rows and relations."""
        parts = embedding(relation, self.table).split([*self._widths.values()], 1)
        constants = dict(zip(self._widths, parts, strict=True))
        first, offset = self._first(head, relation, constants)
        more = () if self._text is None else (self._text(head, relation),)
        query = torch.cat([*first, constants["last"], *more], 1)
        gain = constants["gain"].squeeze(1)
        return query, offset.squeeze(1), head @ self.head_bias, gain

    @abstractmethod
    def _first(
        self, head: Tensor, relation: Tensor, constants: dict[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The columns of a query before ``last``, and the offset [B, 1]."""


class FoldedMap(FoldedEncoder):
    """``query = (g (h M_r + v_r), 0, 0, 1, 1, 0, 0, priors)``, offset 0, slope g.

    The matrices are most of a small bundle, so they are stored in half precision; a scorer that is
    exported has been rounded to it (``RESCAL.round_matrices``).
    """

    def __init__(
        self, scorer: RESCAL, slopes: Tensor, layout: Layout, rest: Tensor, text: TextQuery | None
    ) -> None:
        nothing = torch.zeros(len(slopes), 2)
        constants = {
            "step": scorer.translation,
            "last": torch.cat([nothing, _last(rest)], 1),
            "none": nothing[:, :1],
            "gain": slopes.unsqueeze(1),
        }
        super().__init__(layout, constants, text)
        self.matrix: Tensor
        self.register_buffer("matrix", scorer.matrix.half())

    def _first(
        self, head: Tensor, relation: Tensor, constants: dict[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        matrix = self.matrix[relation].float()
        mapped = torch.bmm(head[:, self._layout.spatial].unsqueeze(1), matrix).squeeze(1)
        return ((mapped + constants["step"]) * constants["gain"],), constants["none"]


class FoldedMoves(FoldedEncoder):
    """``(g Q, -g (1 + x), -g (1 + x), 1, 1, 0, 0, priors)``, offset ``-g x`` and slope g."""

    def __init__(
        self, moves: Moves, slopes: Tensor, layout: Layout, rest: Tensor, text: TextQuery | None
    ) -> None:
        gain = slopes.double().unsqueeze(1)
        constants = {"after": moves.after, "after_time": _time(moves.after)}
        if moves.turn is not None:
            constants |= {"cos": moves.turn[0], "sin": moves.turn[1]}
        if moves.before is not None:
            constants |= {"before": moves.before, "before_time": _time(moves.before)}
        constants |= {"gain": gain, "loss": -gain, "last": _last(rest)}
        super().__init__(layout, constants, text)
        self._turns, self._steps_before = moves.turn is not None, moves.before is not None
        self.excess: Tensor
        self.register_buffer("excess", _columns(layout, layout.excess))
        self.swap: Tensor
        pairs = torch.arange(layout.dimension).view(-1, 2).flip(1).flatten()
        self.register_buffer("swap", pairs + layout.spatial.start)

    def _first(
        self, head: Tensor, relation: Tensor, constants: dict[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        point = self._moved(head, constants)
        square = (point * point).sum(1, keepdim=True)
        offset = square / _time_plus_one(square) * constants["loss"]
        pull = offset - constants["gain"]
        return (point * constants["gain"], pull, pull), offset

    def _moved(self, head: Tensor, constants: dict[str, Tensor]) -> Tensor:
        """The query points [B, D]."""
        point = head[:, self._layout.spatial]
        if self._turns:
            other = head.index_select(1, self.swap)
            point = point * constants["cos"] + other * constants["sin"]
        time = head @ self.excess + 2.0
        if self._steps_before:
            point = _sum(point, time, constants["before"], constants["before_time"])
            time = _time_plus_one((point * point).sum(1, keepdim=True))
        # Without a first step the excess is still the head's: a turn keeps it.
        return _sum(point, time, constants["after"], constants["after_time"])


@dataclass(frozen=True)
class Moves:
    """What each relation does to a head's point, in double precision.

    Attributes:
        turn: cos and sin [2R, D], as ``RX = cos X + sin swap(X)`` wants them; None for no turn.
        before: [2R, D], the step before the turn, turned; None for none.
        after: [2R, D], the step after it.
    """

    turn: tuple[Tensor, Tensor] | None
    before: Tensor | None
    after: Tensor


@torch.inference_mode()
def folded(
    scorer: Scorer, slopes: Tensor, layout: Layout, rest: Tensor, text: TextQuery | None = None
) -> FoldedEncoder | None:
    """Return the short encoder of a scorer; None for a scorer that has none.

    Args:
        scorer: a trained one.
        slopes: [2R], what multiplies u for each relation.
        layout: of the table whose rows come in.
        rest: [2R, W - D - 4], each relation's part of a query from the head bias on.
        text: the text's part of a query; None for none.

    Raises:
        ValueError: for a block of zeros, which no training makes: it does not keep inner products.
    """
    if text is not None:
        rest = rest[:, : text.start - layout.head_bias.start]
    if isinstance(scorer, RESCAL):
        return FoldedMap(scorer, slopes, layout, rest, text)
    if isinstance(scorer, (RotH, RefH, TransH)):
        return FoldedMoves(moves_of(scorer), slopes, layout, rest, text)
    return None


@torch.inference_mode()
def moves_of(scorer: RotH | RefH | TransH) -> Moves:
    """Return the moves of a scorer.

    Raises:
        ValueError: see ``folded``.
    """
    curvature = scorer.curvature().double()
    after = hyperbolic.expmap0(scorer.translation.double(), curvature)
    if isinstance(scorer, TransH):
        return Moves(None, None, after)
    blocks = scorer.rotation.double()
    turned = hyperbolic.rotate if isinstance(scorer, RotH) else hyperbolic.reflect
    first, second = (turned(blocks, _basis(blocks, place)) for place in (0, 1))
    if (first.square().unflatten(-1, (-1, 2)).sum(-1) < _LEAST_TURN).any():
        raise ValueError("expected each block of a rotation to have a direction, found zeros")
    # A block gives (first_0 x_0 + second_0 x_1, first_1 x_0 + second_1 x_1).
    turn = _alternate(first, second), _alternate(second, first)
    if isinstance(scorer, RefH):
        return Moves(turn, None, after)
    before = hyperbolic.expmap0(scorer.before.double(), curvature)
    return Moves(turn, hyperbolic.rotate(blocks, before), after)


def _columns(layout: Layout, columns: slice) -> Tensor:
    """[W, 1] with ones at some columns of a row: a product with it adds them up."""
    chosen = np.zeros((layout.width, 1), np.float32)
    chosen[columns] = 1
    return torch.from_numpy(chosen)


def _last(rest: Tensor) -> Tensor:
    """What follows the excess in a relation's queries: 1, 1 and the rest."""
    return torch.cat([torch.ones(len(rest), 2), rest], 1)


def _basis(like: Tensor, place: int) -> Tensor:
    """1 in one place of each pair, 0 in the other."""
    basis = torch.zeros_like(like)
    basis[..., place::2] = 1
    return basis


def _alternate(even: Tensor, odd: Tensor) -> Tensor:
    """[2R, D] with the even columns of one and the odd columns of the other."""
    columns = even.clone()
    columns[..., 1::2] = odd[..., 1::2]
    return columns


def _time(points: Tensor) -> Tensor:
    """The time coordinate, 1 + excess, [2R, 1]."""
    return 1 + hyperbolic.excess(points).unsqueeze(-1)


def _time_plus_one(square: Tensor) -> Tensor:
    """``1 + sqrt(1 + s)`` of the square s of a point's spatial part, [B, 1]."""
    return torch.sqrt(square + 1.0) + 1.0


def _sum(left: Tensor, time_plus_one: Tensor, right: Tensor, right_time: Tensor) -> Tensor:
    """``left (+) right``, as ``hyperbolic.add`` computes it, [B, D]."""
    factor = (left * right).sum(1, keepdim=True) / time_plus_one + right_time
    return left * factor + right
