"""Where training computes: the CPU or an accelerator, in one process or in several, in 32 bits or with bf16."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearnext.errors import ConfigError
from nearnext.training.config import DeviceName, Precision

__all__ = ["Devices"]


@dataclass(frozen=True)
class Devices:
    """The device of this process, and its place among the processes that train together.

    Several processes are started by ``accelerate launch`` (or ``torchrun``); each draws the same batches, computes its
    share of the examples, and all take the same step.

    Attributes:
        device: where this process computes.
        precision: ``fp32`` or ``bf16``.
        process: number of this process, from 0.
        n_processes: how many there are.
    """

    device: torch.device
    precision: Precision = "fp32"
    process: int = 0
    n_processes: int = 1

    @classmethod
    def find(cls, device: DeviceName, precision: Precision) -> "Devices":
        """The devices that there are.

        Raises:
            ConfigError: ``cuda`` where there is none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("expected a CUDA device, found none; choose device=auto or device=cpu")
        # accelerate takes a second to import and is needed here alone.
        from accelerate import PartialState

        state: Any = PartialState(cpu=device == "cpu")
        place = torch.device("cpu") if device == "cpu" else state.device
        return cls(place, precision, state.process_index, state.num_processes)

    @property
    def main(self) -> bool:
        """Whether this process is the one that logs and writes."""
        return self.process == 0

    def autocast(self) -> AbstractContextManager[object]:
        """Layers computed with bf16 inside, where that is the precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def mean_figures(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The mean of each figure over the processes."""
        values = torch.tensor(list(figures.values()), dtype=torch.float64, device=self.device)
        return {name: float(value) for name, value in zip(figures, self.mean(values), strict=True)}

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.n_processes == 1:
            return tensor
        from accelerate import utils

        untyped: Any = utils
        return untyped.reduce(tensor, reduction="mean")
