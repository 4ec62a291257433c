"""How a model is trained: optimiser, schedule, validation, device."""

from typing import Annotated, Literal

from nearnext.options import Count, Fraction, Natural, NonNegative, Part, Positive, Search, options
from nearnext.training.schedule import Schedule

__all__ = ["DeviceName", "Precision", "TrainingConfig", "ValidationMetric"]

ValidationMetric = Literal["HitRate", "MRR"]
"""What is compared between epochs, at 20 items, on the next item of each validation prefix."""

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]


@options(kw_only=True)
class TrainingConfig:
    """How a model is trained; the defaults are the paper's.

    The paper does not name the figure whose improvement it watches, nor the factor. Here the figure is HitRate@20 on
    the next item: of the figures that the paper reports it is the nearest to REC@20, by which its tables are sorted.

    Attributes:
        epochs: most passes over the training sessions.
        batch_size: sessions (or prefixes, as the sampler has it) in a step, over all devices together.
        learning_rate: of Adam.
        lr_factor: what the learning rate is multiplied with when it is lowered, in (0, 1).
        lower_every: epochs after which the learning rate is lowered whatever validation says; 0: validation decides.
        improvement: relative improvement of the validation metric below which the learning rate is lowered.
        lowerings: training stops when an epoch improves by less for this time.
        validation_fraction: last part of the training sessions, by start time, that is held out; 0: none.
        validation_metric: ``HitRate`` or ``MRR``.
        clip: largest norm of the gradient of the embeddings, and of that of the layers, 0: no limit.
        device: ``auto`` (an accelerator where there is one), ``cpu`` or ``cuda``.
        precision: ``fp32``, or ``bf16`` for the layers of the network; distances and losses stay in 32 bits.

    Raises:
        ConfigError: an option out of range.

    Paper: §5.2.
    """

    epochs: Count = 150
    batch_size: Annotated[Count, Search(32, 512, log=True, why="smaller: more updates, slower")] = 32
    learning_rate: Annotated[
        Positive, Search(0.0005, 0.02, log=True, why="of Adam; what fits depends on the batch")
    ] = 0.001
    lr_factor: Part = 0.5
    lower_every: Natural = 0
    improvement: NonNegative = 0.005
    lowerings: Count = 3
    validation_fraction: Fraction = 0.05
    validation_metric: ValidationMetric = "HitRate"
    clip: NonNegative = 0.0
    device: DeviceName = "auto"
    precision: Precision = "fp32"

    def schedule(self) -> Schedule:
        """How long training goes on, and when the learning rate is lowered."""
        return Schedule(
            epochs=self.epochs,
            compared=(f"{self.validation_metric}@20",),
            improvement=self.improvement,
            lr_factor=self.lr_factor,
            lower_every=self.lower_every,
            lowerings=self.lowerings,
        )
