"""The base class of recommenders trained in epochs: seed, checkpoints, figures of each epoch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nearnext.data.items import ItemTable
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.options import Natural, checked
from nearnext.recommenders.base import Recommender

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

if TYPE_CHECKING:  # torch takes over a second to import: only a fit pays for it
    from nearnext.training.run import RunDirectory

NOT_KEPT = ("directory", "resume")
"""Options that say how a fit runs, not what it gives."""


@dataclass(eq=False)
class TrainedRecommender(Recommender):
    """A recommender that is trained in epochs.

    Attributes:
        seed: of weights, order and draws, at least 0.
        directory: where checkpoints and logs of the fit go, "": nowhere.
        resume: go on from the checkpoint there.
    """

    seed: Natural = 7
    directory: str = ""
    resume: bool = False

    # Figures of each epoch of the fit, and what was out of the ordinary in it.
    history: list[dict[str, float]] = field(init=False, repr=False, default_factory=list[dict[str, float]])
    note: str = field(init=False, repr=False, default="")
    # Called with the figures of each epoch; what it raises ends the fit.
    watch: Callable[[Mapping[str, float]], None] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and not self.directory:
            raise ConfigError("resume needs the directory of the run to go on with, found none")

    def fit(
        self, sessions: "Sessions | IntoDataFrame", *, items: ItemTable | None = None, seed: int | None = None
    ) -> Self:
        """Learn from sessions; their vocabulary becomes the catalogue.

        Args:
            sessions: to learn from, or a frame of clicks; where a part is held out for validation, it is the last one
                by start time.
            items: what is known of items, see `Recommender.fit`.
            seed: instead of the one that the model was made with.

        Raises:
            DataError: there are no sessions.
            ConfigError: training gave no finite loss, or a checkpoint is of other options.
            ArtifactError: the directory of the run cannot be used.
        """
        if seed is not None:
            self.seed = checked("seed", seed, Natural)
        self.history, self.note = [], ""
        return super().fit(sessions, items=items)

    def params(self) -> dict[str, Any]:
        """The options of the method by name, without those of the run."""
        return {name: value for name, value in super().params().items() if name not in NOT_KEPT}

    def require_learned(self) -> None:
        """A check that the fit found something to learn; `DataError` where all lists are by popularity."""

    def with_checkpoints(self, directory: Path) -> Self:
        """The same model, unfitted, whose fit keeps checkpoints there and goes on from one that is there."""
        from nearnext.training.run import holds_checkpoint

        return replace(self, directory=str(directory), resume=holds_checkpoint(directory))

    @property
    def training_seconds(self) -> float:
        """Seconds of all epochs of the last fit, those before an interruption included."""
        return sum(epoch.get("seconds", 0.0) for epoch in self.history)

    def _run(self, sessions: Sessions) -> "RunDirectory | None":
        """Where checkpoints of a fit on these sessions go; None: nowhere."""
        if not self.directory:
            return None
        from nearnext.training.run import RunDirectory

        identity: Mapping[str, Any] = {**self.params(), "method": self.name, "data": sessions.fingerprint()}
        return RunDirectory(Path(self.directory), identity)
