"""What a model expects and gives: its metadata and configuration as one value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. ``shape`` includes the batch dimension of a batching model; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False

    def __str__(self) -> str:
        sizes = ",".join("any" if size < 0 else str(size) for size in self.shape)
        return f"{self.name}: {self.datatype}[{sizes}]" + (" (optional)" if self.optional else "")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model.

    ``max_batch_size`` 0: it does not batch. ``decoupled``: it answers over the stream only, any number of times.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = 0
    decoupled: bool = False
    stateful: bool = False

    @property
    def batches(self) -> bool:
        """True when the first dimension of every tensor counts requests."""
        return self.max_batch_size > 0

    def expects(self) -> str:
        """What the model takes, for people."""
        return f"{self.name} takes " + ("; ".join(map(str, self.inputs)) or "no input")
