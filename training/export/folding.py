"""``encoder.onnx`` in as few operators as there can be: most of an operator's time is its call.

What a scorer makes of a relation alone is computed here, once, and kept as one row of a table. What
is left for a query of a scorer that **turns and moves** a point X (RotH, RefH, TransH) is

    T = turned + RX (1 + b + <RX, turned> / (2 + x))        RX = cos X + sin swap(X)
    Q = after + T (1 + a + <T, after> / (2 + t))

with x, t, a and b the excess of X, T, ``after`` and the first step, and ``turned`` that step after
the turn, which keeps inner products and excess. x is read off the table instead of being computed
again. That are 37 operators for a RotH, of the 111 that the exporter makes of its code. A scorer
that **maps** a vector (RESCAL) needs 13.

Shape letters: B queries, W width of the table, D dimension, R relations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulde.bundle.entity_table import Layout
from training.export.onnx_nodes import Nodes
from training.ops import hyperbolic
from training.scorers import Scorer
from training.scorers.rescal import RESCAL
from training.scorers.roth import RefH, RotH
from training.scorers.transh import TransH
from training.text.columns import TINY
from training.text.query import TextQuery

_LEAST_TURN = 0.5
Columns = dict[str, NDArray[np.float32]]


@torch.inference_mode()
def folded_graph(
    scorer: Scorer, slopes: Tensor, layout: Layout, rest: Tensor, text: TextQuery | None = None
) -> onnx.ModelProto | None:
    """The short graph of a scorer; None for one that does something else.

    Args:
        scorer: a trained one.
        slopes: [2R], what multiplies u for each relation.
        layout: of the table whose rows come in.
        rest: [2R, W - D - 4], each relation's part of a query from the head bias on.
        text: the text's part of a query; None for none.

    Raises:
        ValueError: for a block of zeros, which no training makes: it does not keep inner products.
    """
    nodes = Nodes()
    nodes.constant("axis", np.array([1]))
    if text is not None:
        rest = rest[:, : text.start - layout.head_bias.start]
    if isinstance(scorer, RESCAL):
        first = _map(nodes, scorer, slopes, layout, rest)
    elif isinstance(scorer, (RotH, RefH, TransH)):
        moves = moves_of(scorer)
        nodes.look_up(_columns(moves, slopes, rest), "relation")
        first = _queries(nodes, _moved(nodes, moves, layout))
    else:
        return None
    more = () if text is None else (_text(nodes, text),)
    nodes.add("Concat", *first, *more, to=["query"], axis=1)
    _head_bias(nodes, layout)
    return nodes.encoder(layout.width)


def _point(nodes: Nodes, layout: Layout) -> str:
    """X, [B, D]."""
    ends = np.array([layout.spatial.start]), np.array([layout.spatial.stop])
    bounds = (nodes.constant(name, end) for name, end in zip(("start", "end"), ends, strict=True))
    return nodes.add("Slice", "head", *bounds, "axis")


def _head_bias(nodes: Nodes, layout: Layout) -> None:
    """Both its parts, added."""
    chosen = np.zeros(layout.width, np.float32)
    chosen[layout.head_bias] = 1
    nodes.add("MatMul", "head", nodes.constant("bias_columns", chosen), to=["bias"])


def _text(nodes: Nodes, text: TextQuery) -> str:
    """The text's part of a query and what follows it, [B, Z]; matrices in half precision."""
    first = nodes.constant("text_start", np.array([text.start]))
    stop = nodes.constant("text_stop", np.array([text.stop]))
    row = nodes.add("Unsqueeze", nodes.add("Slice", "head", first, stop, "axis"), "axis")
    halves = nodes.constant("text_matrices", text.matrix.half().numpy())
    matrix = nodes.as_float(nodes.add("Gather", halves, "relation"))
    mapped = nodes.add("Squeeze", nodes.add("MatMul", row, matrix), "axis")
    moved = nodes.add("Gather", nodes.constant("text_shifts", text.shift.numpy()), "relation")
    query = nodes.add("Add", mapped, moved)
    tiny = nodes.constant("tiny", np.array([TINY], np.float32))
    square = nodes.add("Add", nodes.add("ReduceSumSquare", query, "axis"), tiny)
    scale = nodes.add("Gather", nodes.constant("text_scales", text.scale.numpy()), "relation")
    return nodes.add("Mul", query, nodes.add("Div", scale, nodes.add("Sqrt", square)))


def _last(rest: Tensor) -> Tensor:
    """What follows the excess in a relation's queries: 1, 1 and the rest; [2R, W - D - 2]."""
    return torch.cat([torch.ones(len(rest), 2), rest], 1)


def _numbers(parts: dict[str, Tensor]) -> Columns:
    return {name: part.double().numpy().astype(np.float32) for name, part in parts.items()}


def _map(
    nodes: Nodes, scorer: RESCAL, slopes: Tensor, layout: Layout, rest: Tensor
) -> tuple[str, ...]:
    """``query = (g (h M_r + v_r), 0, 0, 1, 1, 0, 0, traits)``, offset 0, slope g.

    The matrices are most of a small bundle, so they are stored in half precision; a scorer that is
    exported has been rounded to it (``RESCAL.round_matrices``).
    """
    gain, count = slopes.double().unsqueeze(-1), len(slopes)
    parts = {
        "step": scorer.translation,
        "last": torch.cat([torch.zeros(count, 2), _last(rest)], 1),
        "none": torch.zeros(count, 1),
        "gain": gain,
    }
    nodes.look_up(_numbers(parts), "relation")
    halves = nodes.constant("matrices", scorer.matrix.half().numpy())
    matrix = nodes.as_float(nodes.add("Gather", halves, "relation"))
    row = nodes.add("Unsqueeze", _point(nodes, layout), "axis")
    mapped = nodes.add("Squeeze", nodes.add("MatMul", row, matrix), "axis")
    scaled = nodes.add("Mul", nodes.add("Add", mapped, "step"), "gain")
    nodes.add("Squeeze", "none", "axis", to=["offset"])
    nodes.add("Squeeze", "gain", "axis", to=["slope"])
    return scaled, "last"


@dataclass(frozen=True)
class Moves:
    """What each relation does to a head's point.

    Attributes:
        turn: cos and sin [2R, D], as ``RX = cos X + sin swap(X)`` wants them; None for no turn.
        before: [2R, D], the step before the turn, turned; None for none.
        after: [2R, D], the step after it.
    """

    turn: tuple[Tensor, Tensor] | None
    before: Tensor | None
    after: Tensor


@torch.inference_mode()
def moves_of(scorer: RotH | RefH | TransH) -> Moves:
    """The moves of a scorer, in double precision.

    Raises:
        ValueError: see ``folded_graph``.
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


def _columns(moves: Moves, slopes: Tensor, rest: Tensor) -> Columns:
    """The constants of each relation, [2R, ..], by the name that the graph gives them."""
    gain = slopes.double().unsqueeze(-1)
    parts = {"after": moves.after, "after_time": _time(moves.after)}
    if moves.turn is not None:
        parts |= {"cos": moves.turn[0], "sin": moves.turn[1]}
    if moves.before is not None:
        parts |= {"before": moves.before, "before_time": _time(moves.before)}
    return _numbers(parts | {"gain": gain, "loss": -gain, "last": _last(rest)})


def _time(points: Tensor) -> Tensor:
    """The time coordinate, 1 + excess, [2R, 1]."""
    return 1 + hyperbolic.excess(points).unsqueeze(-1)


def _moved(nodes: Nodes, moves: Moves, layout: Layout) -> str:
    """The query points [B, D]."""
    point = _point(nodes, layout)
    if moves.turn is not None:
        swap = np.arange(layout.dimension).reshape(-1, 2)[:, ::-1].ravel()
        other = nodes.add("Gather", "head", nodes.constant("swap", swap), axis=1)
        point = nodes.add("Add", nodes.add("Mul", point, "cos"), nodes.add("Mul", other, "sin"))
    chosen = np.zeros((layout.width, 1), np.float32)
    chosen[layout.excess] = 1
    excess = nodes.add("MatMul", "head", nodes.constant("excess_columns", chosen))
    time = nodes.add("Add", excess, nodes.constant("two", np.array([2], np.float32)))
    if moves.before is not None:
        point = _sum(nodes, point, time, "before")
        time = _time_plus_one(nodes, nodes.add("ReduceSumSquare", point, "axis"))
    # Without a first step the excess is still the head's: a turn keeps it.
    return _sum(nodes, point, time, "after")


def _sum(nodes: Nodes, left: str, time_plus_one: str, right: str) -> str:
    """``left (+) right``, as ``hyperbolic.add`` computes it, [B, D]."""
    inner = nodes.add("ReduceSum", nodes.add("Mul", left, right), "axis")
    factor = nodes.add("Add", nodes.add("Div", inner, time_plus_one), f"{right}_time")
    return nodes.add("Add", nodes.add("Mul", left, factor), right)


def _time_plus_one(nodes: Nodes, square: str) -> str:
    """``1 + sqrt(1 + s)`` of the square s of a point's spatial part, [B, 1]."""
    one = nodes.constant("one", np.array([1], np.float32))
    return nodes.add("Add", nodes.add("Sqrt", nodes.add("Add", square, one)), one)


def _queries(nodes: Nodes, point: str) -> tuple[str, ...]:
    """``(g Q, -g (1 + x), -g (1 + x), 1, 1, 0, 0, traits)``, offset ``-g x`` and slope g."""
    square = nodes.add("ReduceSumSquare", point, "axis")
    offset = nodes.add("Mul", nodes.add("Div", square, _time_plus_one(nodes, square)), "loss")
    pull = nodes.add("Sub", offset, "gain")
    scaled = nodes.add("Mul", point, "gain")
    nodes.add("Squeeze", offset, "axis", to=["offset"])
    nodes.add("Squeeze", "gain", "axis", to=["slope"])
    return scaled, pull, pull, "last"
