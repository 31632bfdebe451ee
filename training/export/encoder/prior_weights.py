"""Change the weights of relation priors in an ``encoder.onnx``; all else stays as it is.

The weights are columns of one table of constants, whatever the scorer: each is found by adding its
own number to every column and seeing by how much the query's columns change.

Shape letters: R relations, J priors, W width of the table, n constants of a relation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from mulde.errors import BundleError
from mulde.typing import Float32


def change_prior_weights(path: Path, columns: slice, weights: Float32, heads: Float32) -> None:
    """Write other weights of relation priors into an encoder.

    Args:
        path: ``encoder.onnx``; written anew.
        columns: of the query that hold priors; those beyond the weights get 0.
        weights: [2R, J].
        heads: [2R, W], rows of the table to try the encoder with.

    Raises:
        BundleError: if the encoder has no such constants, or its other outputs changed.
    """
    model = onnx.load(path)
    wanted = np.zeros((len(heads), columns.stop - columns.start), np.float32)
    wanted[:, : weights.shape[1]] = weights
    before = _outputs(model, heads)
    for tensor in model.graph.initializer:
        found = _columns(model, tensor, columns, before[0], heads)
        if found is not None:
            constants = numpy_helper.to_array(tensor).copy()
            constants[:, found] = wanted
            tensor.CopyFrom(numpy_helper.from_array(constants, tensor.name))
            break
    else:
        raise BundleError(path, "expected constants of relation priors, found none")
    after = _outputs(model, heads)
    before[0][:, columns] = wanted
    if not all(np.array_equal(one, other) for one, other in zip(before, after, strict=True)):
        raise BundleError(path, "its queries depend on the relation priors in another way")
    path.write_bytes(model.SerializeToString(deterministic=True))


def _columns(
    model: onnx.ModelProto,
    tensor: onnx.TensorProto,
    columns: slice,
    query: Float32,
    heads: Float32,
) -> list[int] | None:
    """Which columns of a table of constants are the priors' columns of the query; None: none."""
    constants = numpy_helper.to_array(tensor)
    if constants.dtype != np.float32 or constants.ndim != 2 or len(constants) != len(heads):
        return None
    numbers = np.arange(1, constants.shape[1] + 1, dtype=np.float32)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    place = [one.name for one in model.graph.initializer].index(tensor.name)
    moved = numpy_helper.from_array(constants + numbers, tensor.name)
    changed.graph.initializer[place].CopyFrom(moved)
    difference = (_outputs(changed, heads)[0] - query)[:, columns]
    found = np.rint(difference[0])
    if not np.all(np.abs(difference - found) < 0.01) or not np.isin(found, numbers).all():
        return None
    return [int(number) - 1 for number in found]


def _outputs(model: onnx.ModelProto, heads: Float32) -> list[Float32]:
    """Query, offset, bias and slope of the heads, each asked about a relation of its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    relations = np.arange(len(heads), dtype=np.int64)
    outputs: list[Float32] = session.run(None, {"head": heads, "relation": relations})
    return outputs
