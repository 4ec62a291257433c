"""The base class of recommenders trained in epochs: seed, checkpoints, figures of each epoch."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from narwhals.typing import IntoDataFrame

from nearnext.data.items import ItemTable
from nearnext.data.sessionise import as_sessions
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.extras import training_extra
from nearnext.model_card import best_epoch
from nearnext.options import Natural, checked
from nearnext.processes import launched
from nearnext.recommenders.base import Recommender
from nearnext.training.tracking import TrackerName, tracked

if TYPE_CHECKING:  # torch takes over a second to import: only a fit pays for it
    from nearnext.training.run import RunDirectory

NOT_KEPT = ("directory", "resume", "workers", "sharded", "track", "device")
"""Options that say how a fit runs, not what it gives."""


@dataclass(eq=False)
class TrainedRecommender(Recommender):
    """A recommender that is trained in epochs.

    Attributes:
        seed: of weights, order and draws, at least 0.
        directory: where checkpoints and logs of the fit go, "": nowhere.
        resume: go on from the checkpoint there.
        workers: processes that train, this one among them; 0: as many as make the fit of the same model faster.
        sharded: whether each worker of ``torchrun`` or Ray holds a part of the item embeddings in training, instead of
            all; those of one machine share them in any case.
        track: experiment tracker that gets options and metrics; None: TensorBoard where there is a directory.
    """

    seed: Natural = 7
    directory: str = ""
    resume: bool = False
    workers: Natural = 1
    sharded: bool = False
    track: TrackerName | None = None

    # Figures of each epoch of the fit, and what was out of the ordinary in it.
    history: list[dict[str, float]] = field(init=False, repr=False, default_factory=list[dict[str, float]])
    note: str = field(init=False, repr=False, default="")
    # Called with the figures of each epoch; what it raises ends the fit.
    watch: Callable[[Mapping[str, float]], None] | None = field(init=False, repr=False, default=None)
    start: Self | None = field(init=False, repr=False, default=None)  # the model whose weights the next fit starts from

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
            DataError: there are no sessions, or none of them has an item of the model to start from.
            ConfigError: training gave no finite loss, a checkpoint is of other options, there are more workers
                than sessions, or the tracker cannot start a run.
            ArtifactError: the directory of the run cannot be used.
            MissingPackageError: the package of the tracker is not installed.
        """
        if seed is not None:
            self.seed = checked("seed", seed, Natural)
        self.history, self.note = [], ""
        sessions = as_sessions("training sessions", sessions)
        if self.start is not None and self.start.vocabulary.integer != sessions.vocabulary.integer:
            kinds = {True: "whole numbers", False: "texts"}
            raise DataError(
                f"expected item ids that are {kinds[self.start.vocabulary.integer]}, as the model to start from has "
                f"them, found {kinds[sessions.vocabulary.integer]}; fit from scratch"
            )
        if self.start is not None and not self.start.vocabulary.encode(sessions.vocabulary.ids).any():
            raise DataError(
                "expected items of the model to start from in the log, found none of them; fit from scratch, or map "
                "the column of these ids"
            )
        if 1 < self.workers > sessions.n_sessions:
            raise ConfigError(
                f"expected at most as many workers as sessions, {sessions.n_sessions}, found {self.workers}; use fewer"
            )
        with self._tracking(sessions), self._working(sessions):
            super().fit(sessions, items=items)
        self.start = None
        return self

    def retrain(
        self, sessions: "Sessions | IntoDataFrame", *, items: ItemTable | None = None, seed: int | None = None
    ) -> Self:
        """A new model of the same options, fitted on a later log from this model's weights, in one or two epochs.

        Items that the log no longer has are dropped, new ones start among their neighbours in sessions. The choices
        that a fit makes on held-out sessions, such as the re-ranker of ``metric``, are those of this model.

        Args:
            sessions: all that the new model may know, not the new ones alone.
            items: see `fit`; by default the item table of this model.
            seed: instead of this model's.

        Raises:
            ConfigError: not fitted, or fitted by an older nearnext with other features.
            DataError: nothing was learned so far, no sessions, item ids of another type, or no item of this model.

        >>> from nearnext.recommenders.gru4rec.recommender import GRU4Rec
        >>> yesterday = GRU4Rec(layers=(8,), n_sample=8).fit(Sessions.of([["a", "b", "c"]] * 20))
        >>> today = yesterday.retrain(Sessions.of([["a", "b", "d"]] * 20))
        >>> sorted(today.vocabulary.ids), len(today.history)
        (['a', 'b', 'd'], 1)
        """
        return self.successor().fit(sessions, items=self.items if items is None else items, seed=seed)

    def successor(self) -> Self:
        """An unfitted model of the same options, whose next fit starts from the weights of this one."""
        self._check(1)
        self.require_learned()
        successor = self.unfitted(directory="", resume=False)
        successor.start = self
        return successor

    def params(self) -> dict[str, Any]:
        """The options of the method by name, without those of the run."""
        return {name: value for name, value in super().params().items() if name not in NOT_KEPT}

    def require_learned(self) -> None:
        """A check that the fit found something to learn; `DataError` where all lists are by popularity."""

    def with_checkpoints(self, directory: Path) -> Self:
        """The same model, unfitted, whose fit keeps checkpoints in a directory and resumes from the one in it."""
        from nearnext.training.run import holds_checkpoint

        return replace(self, directory=str(directory), resume=holds_checkpoint(directory))

    @property
    def training_seconds(self) -> float:
        """Seconds of all epochs of the last fit, those before an interruption included."""
        return sum(epoch.get("seconds", 0.0) for epoch in self.history)

    @contextmanager
    def _tracking(self, sessions: Sessions) -> Generator[None]:
        """Send options and metrics of a fit to a tracker."""
        track = self.track or ("tensorboard" if self.directory and find_spec("tensorboard") else None)
        if track is None:
            yield
            return
        data = {"sessions": sessions.n_sessions, "clicks": sessions.n_events, "items": sessions.n_items}
        facts = {"method": self.name, **self.params(), **data, "data": sessions.fingerprint()}
        directory, before = Path(self.directory) if self.directory else None, self.watch
        with tracked(track, facts, directory, resume=self.resume) as run:

            def watch(metrics: Mapping[str, float]) -> None:
                run.write({name: value for name, value in metrics.items() if name != "epoch"}, int(metrics["epoch"]))
                if before is not None:
                    before(metrics)

            self.watch = watch
            try:
                yield
            finally:
                self.watch = before
            if self.history:
                best = {f"best/{name}": value for name, value in best_epoch(self.history).items()}
                run.write({**best, "training_seconds": self.training_seconds}, len(self.history))
        self.note = "; ".join(filter(None, (self.note, run.lost)))

    @contextmanager
    def _working(self, sessions: Sessions) -> Generator[None]:
        """The worker processes of a fit."""
        alone = launched() is None
        n = self.workers or (self.useful_workers(sessions) if alone else 1)
        if n == 1 and alone and not self.sharded:
            yield
            return
        with training_extra(f"fitting {self.name}"):
            from nearnext.training.workers import workers
        with workers(n, sharded=self.sharded):
            yield

    def useful_workers(self, sessions: Sessions) -> int:  # noqa: ARG002 - of methods that know when more pay
        """How many processes make a fit on these sessions faster."""
        return 1

    def _run(self, sessions: Sessions) -> "RunDirectory | None":
        """The run directory of a fit on these sessions; None: no checkpoints."""
        if not self.directory:
            return None
        from nearnext.training.run import RunDirectory

        identity: Mapping[str, Any] = {**self.params(), "method": self.name, "data": sessions.fingerprint()}
        return RunDirectory(Path(self.directory), identity)
