"""Nodes of an ONNX graph, one after the other, and the few compound ones that exporting needs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Shape = list[str | int]
"""Of an input or output; an axis of any length has a name in place of a number."""
OPSET = 17
"""Of the operators: onnxruntime 1.12 and later know it."""
_IR_VERSION = 8  # of the file, that belongs to it: what the installed onnx writes by itself, older runtimes refuse


class Graph:
    """An ONNX graph in the making. Values are known by their names; adding a node gives that of its output.

    Args:
        half: weights lie in the file in 16 bits, also those that lose by it. Without it, those that do not.
    """

    def __init__(self, half: bool = False) -> None:
        self.half = half
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output, and gives the name of that."""
        return self.add_several(operator, 1, *inputs, **attributes)[0]

    def add_several(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Adds a node with ``count`` outputs, and gives their names."""
        from onnx import helper

        place = len(self._nodes)
        outputs = [f"{operator}_{place}" if count == 1 else f"{operator}_{place}_{i}" for i in range(count)]
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=f"{operator}_{place}", **attributes))
        return outputs

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """A number or an array that lies in the file, the same one once."""
        from onnx import numpy_helper

        array: np.ndarray = np.asarray(value, dtype, order="C")
        # with the brackets of an array of one, which is not a number
        name = f"{array.dtype.name}_{array.tolist()}"
        if array.size > 4:
            told = hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).hexdigest()
            name = f"constant_{told[:24]}"
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def whole(self, value: int | Sequence[int] | np.ndarray) -> str:
        """A whole number, or several: a constant in int64, as axes and shapes are given."""
        return self.constant(value, np.int64)

    def weight(self, value: np.ndarray) -> str:
        """A weight in float32, which lies in the file in 16 bits where `in_half` says so."""
        if not self.in_half(value):
            return self.constant(value)
        return self.add("Cast", self.constant(value, np.float16), to=1)  # done once, when the file is loaded

    def in_half(self, value: np.ndarray) -> bool:
        """Whether a weight will lie in the file in 16 bits: it loses nothing by it, or shall be."""
        with np.errstate(over="ignore"):
            return self.half or bool(np.array_equal(value.astype(np.float16).astype(np.float32), value))

    def length(self, value: str, axis: int) -> str:
        """How long an axis is, int64, shape (1,)."""
        return self.add("Shape", value, start=axis, end=axis + 1)

    def cut(self, value: str, start: int, stop: int | None, axis: int, step: int = 1) -> str:
        """``value[..., start:stop:step]`` along an axis."""
        end = np.iinfo(np.int64).max if stop is None else stop
        return self.add("Slice", value, *(self.whole([number]) for number in (start, end, axis, step)))

    def pad_to(self, waveform: str, least: int) -> str:
        """Waveforms (n, samples) zero-padded on the right to ``least`` samples where they are shorter."""
        missing = self.add("Sub", self.whole([least]), self.length(waveform, 1))
        missing = self.add("Max", missing, self.whole([0]))
        return self.add("Pad", waveform, self.add("Concat", self.whole([0, 0, 0]), missing, axis=0))

    def fourier(self, waveform: str, window: np.ndarray, fft: int, bins: np.ndarray, hop: int) -> tuple[str, str]:
        """Some bins of a short-time Fourier transform, as a convolution: real and imaginary part.

        ONNX has operators of its own for it, which few runtimes know. The file holds one period of a cosine and a
        sine; the kernels are made of it when it is loaded.

        Args:
            waveform: (n, samples), of at least one window.
            window: what a frame is multiplied with, (length,); the rest of the transform is zeros.
            fft: points of the transform.
            bins: which of its bins.
            hop: samples from one frame to the next.

        Returns:
            (n, len(bins), frames) each.
        """
        turns = 2 * math.pi * np.arange(fft) / fft
        table = np.concatenate([np.cos(turns), -np.sin(turns)])
        table[np.abs(table) < 1e-12] = 0.0  # half a turn has no sine: a bin that is real has a phase without noise
        product = self.add("Mul", self.whole(bins[:, None]), self.whole(np.arange(len(window))[None]))
        place = self.add("Mod", product, self.whole(fft))
        both = self.add("Concat", place, self.add("Add", place, self.whole(fft)), axis=0)
        kernels = self.add("Mul", self.add("Gather", self.constant(table), both, axis=0), self.constant(window))
        kernels = self.add("Unsqueeze", kernels, self.whole([1]))  # (2 * bins, 1, length)
        channel = self.add("Unsqueeze", waveform, self.whole([1]))  # (n, 1, samples)
        spectrum = self.add("Conv", channel, kernels, kernel_shape=[len(window)], strides=[hop])
        real, imaginary = self.add_several("Split", 2, spectrum, self.whole([len(bins)] * 2), axis=1)
        return real, imaginary

    def power(self, real: str, imaginary: str) -> str:
        """Squared magnitudes."""
        return self.add("Add", self.add("Mul", real, real), self.add("Mul", imaginary, imaginary))

    def atan2(self, y: str, x: str) -> str:
        """The angle of points that are not both 0, in (-π, π]: ONNX has no operator for it."""
        turn = self.add("Where", self.add("Less", y, self.constant(0.0)), *map(self.constant, (-math.pi, math.pi)))
        turn = self.add("Where", self.add("Less", x, self.constant(0.0)), turn, self.constant(0.0))
        return self.add("Add", self.add("Atan", self.add("Div", y, x)), turn)

    def moments(self, value: str, floor: float) -> tuple[str, str]:
        """Mean and standard deviation of (n, channels, T, …) over time, (n, channels * …) each.

        Args:
            value: of which.
            floor: the least variance.
        """
        mean = self.add("ReduceMean", value, axes=[2], keepdims=1)
        apart = self.add("Sub", value, mean)  # from the mean first: squares of what is far from 0 lose digits
        variance = self.add("ReduceMean", self.add("Mul", apart, apart), axes=[2], keepdims=1)
        deviation = self.add("Sqrt", self.add("Max", variance, self.constant(floor)))
        return self.add("Flatten", mean, axis=1), self.add("Flatten", deviation, axis=1)

    def finish(
        self, inputs: dict[str, list[str | int]], outputs: dict[str, tuple[str, list[str | int]]]
    ) -> ModelProto:
        """The model, checked.

        Args:
            inputs: the shape of each input by name. All are float32.
            outputs: the value and the shape of each output by name.
        """
        from onnx import TensorProto, checker, helper

        def described(name: str, shape: Shape) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        named = [helper.make_node("Identity", [value], [name]) for name, (value, _) in outputs.items()]
        graph = helper.make_graph(
            [*self._nodes, *named],
            "soundalike",
            [described(name, shape) for name, shape in inputs.items()],
            [described(name, shape) for name, (_, shape) in outputs.items()],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
        checker.check_model(model, full_check=True)
        return model
