"""Learning rate and early stopping as a value: each epoch's validation metric gives the next one."""

from dataclasses import dataclass, replace

from nearnext.training.config import TrainingConfig

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Where training stands: the learning rate of the next epoch, the best epoch so far, and whether to go on.

    Attributes:
        learning_rate: of the next epoch.
        epoch: epochs done.
        lowered: how often an epoch improved too little, and lowered the learning rate where validation decides.
        best: highest validation metric so far, None before the first.
        best_epoch: number of that epoch, from 1; 0 before the first.
        finished: whether training is over.

    Paper: §5.2.

    >>> start = Schedule.of(TrainingConfig(epochs=9, lowerings=1))
    >>> better = start.step(0.5, TrainingConfig(epochs=9, lowerings=1))
    >>> better.best_epoch, better.step(0.501, TrainingConfig(epochs=9, lowerings=1)).finished
    (1, True)
    """

    learning_rate: float
    epoch: int = 0
    lowered: int = 0
    best: float | None = None
    best_epoch: int = 0
    finished: bool = False

    @classmethod
    def of(cls, config: TrainingConfig) -> "Schedule":
        """The schedule before the first epoch."""
        return cls(config.learning_rate)

    def step(self, metric: float | None, config: TrainingConfig) -> "Schedule":
        """The schedule after an epoch with this validation metric, in [0, 1]; None where nothing is held out.

        An epoch that improves the best metric so far by less than ``improvement``, relative to it, lowers the learning
        rate; the lowering number ``lowerings`` ends training instead. With ``lower_every`` such epochs only end
        training, and the rate falls after every so many epochs. Without a metric every epoch is the best so far.
        """
        done = replace(self, epoch=self.epoch + 1)
        if config.lower_every and done.epoch % config.lower_every == 0:
            done = replace(done, learning_rate=self.learning_rate * config.lr_factor)
        if metric is None:
            return replace(done, best_epoch=done.epoch, finished=done.epoch >= config.epochs)
        improved = self.best is None or (metric > self.best and metric - self.best >= config.improvement * self.best)
        if self.best is None or metric > self.best:
            done = replace(done, best=metric, best_epoch=done.epoch)
        if not improved:
            lowered = self.lowered + 1
            if lowered >= config.lowerings:
                return replace(done, lowered=lowered, finished=True)
            rate = done.learning_rate if config.lower_every else self.learning_rate * config.lr_factor
            done = replace(done, lowered=lowered, learning_rate=rate)
        return replace(done, finished=done.epoch >= config.epochs)
