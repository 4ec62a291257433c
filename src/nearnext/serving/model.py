"""The model that is served: loaded and tried before it counts, and replaced as a whole."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from nearnext.artifact import load_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ArtifactError, NearnextError
from nearnext.explanation import explain, session_index_of, similar_items
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.ranking import Recommendation
from nearnext.recommenders.space import EmbeddingSpace, space_of
from nearnext.serving.available import AvailableItems
from nearnext.serving.catalogue import Catalogue
from nearnext.serving.predictor import Predictor, Query
from nearnext.types import IndexArray, RawId

MANIFEST = "manifest.json"

log = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int, int], ...]


def artifact_signature(folder: Path) -> Signature:
    """What tells one state of a directory from another without reading it: name, inode, size and time of each file.

    >>> artifact_signature(Path("no-such-model"))
    ()
    """
    try:
        found = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    except OSError:
        return ()
    return tuple((name, entry.st_ino, entry.st_size, entry.st_mtime_ns) for name, entry in found)


class LoadedModel(NamedTuple):
    """A recommender as it was read, its manifest, and its version: a checksum over everything it was read from."""

    recommender: Recommender
    manifest: Mapping[str, Any]
    version: str


def load_model(folder: Path, *, onnx: bool = False) -> LoadedModel:
    """A model from its directory, after it has answered once; the first answer also compiles what is needed.

    Args:
        folder: the artifact.
        onnx: whether onnxruntime encodes its sessions where that is faster.

    Raises:
        ArtifactError: the directory cannot be read, was changed while it was read, or its model cannot answer.
        ConfigError: its encoder cannot be expressed in ONNX, or the extra is not installed.
    """
    try:
        return _loaded(folder, onnx=onnx)
    except NearnextError:
        raise
    except MemoryError as error:
        raise ArtifactError(f"not enough memory for the model in {folder}; free some") from error
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ArtifactError(f"{folder} holds a model that cannot be used ({reason}); fit it again") from error


def _loaded(folder: Path, *, onnx: bool) -> LoadedModel:
    before = artifact_signature(folder)
    artifact = load_artifact(folder)
    version = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:12]
    if artifact_signature(folder) != before:
        raise ArtifactError(f"{folder} was changed while it was read; wait until it is complete")
    msgspec.json.encode(artifact.manifest)  # requests will ask for it
    recommender = artifact.recommender
    if recommender.memory is not None:  # a session's raw id is what opens it to a client
        recommender.memory = recommender.memory.numbered()
    if onnx:
        _encode_by_onnx(recommender)
    first: list[RawId] = recommender.vocabulary.ids.head(2).to_list()
    answers = recommender.recommend([first, []], k=2, exclude_seen=True)
    explain(recommender, first[:1], first[-1], n=1)  # compiles too what the first explanation needs
    if not all(np.isfinite(answer.scores).all() for answer in answers):
        raise ArtifactError(f"{folder} holds a model that gives no finite scores; fit it again")
    return LoadedModel(recommender, artifact.manifest, version)


def _encode_by_onnx(recommender: Recommender) -> None:
    from nearnext.portable.encoder import encode_by_onnx  # needs an extra

    measured = encode_by_onnx(recommender)
    if measured is not None:
        which = "onnxruntime" if measured.onnx < measured.model else "the model's own code"
        times = f"onnxruntime takes {measured.onnx:.0f} µs, the model's own code {measured.model:.0f} µs"
        log.info("sessions are encoded by %s: %s", which, times)


class Similar(NamedTuple):
    """Items similar to one, the most similar first.

    Attributes:
        basis: what makes them similar: ``embeddings`` that are near, the same training ``sessions``, or that they are
            the model's ``recommendations`` after it.
        items: raw ids.
        scores: one per item, falling.
        shortage: why there are fewer than were asked for, or None.
    """

    basis: Literal["embeddings", "sessions", "recommendations"]
    items: list[RawId]
    scores: list[float]
    shortage: str | None


class ServedModel:
    """One model with what it may recommend; a request keeps to the one that it began with.

    Args:
        loaded: the model.
        catalogue: what changed since its training.

    Attributes:
        version: of the model.

    >>> import tempfile
    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.named import make_recommender
    >>> fitted = make_recommender("markov-1").fit(Sessions.of([["a", "b"]] * 3 + [["a", "c"]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     served = ServedModel(LoadedModel(fitted, {}, "v1"), Catalogue(Path(folder, "changes")))
    >>> served.answer([Query([], k=2)])[0].items, served.similar("a", 1).items
    (['a', 'b'], ['b'])
    >>> served.similar("a", 1).basis
    'recommendations'
    """

    def __init__(self, loaded: LoadedModel, catalogue: Catalogue) -> None:
        self.recommender, self.manifest, self.version = loaded
        self.available = AvailableItems(self.recommender, catalogue)
        self._predictor = Predictor(self.recommender, self.available)
        self._space = space_of(self.recommender)
        self.page: bytes | None = None
        self.map: asyncio.Task[Any] | None = None

    def answer(self, queries: list[Query]) -> list[Recommendation]:
        """Lists of next items, see `Predictor.answer`."""
        return self._predictor.answer(queries)

    def stored(self, item: RawId) -> RawId:
        """An item's id in the model's own type."""
        return self.recommender.vocabulary.as_stored(item)

    def similar(self, item: RawId, k: int) -> Similar | None:
        """The items most similar to one, without itself; None for an item that the model was not trained with.

        In a metric space they are the nearest ones; otherwise those clicked in the same training sessions; where the
        model keeps none, what it recommends after this item alone.
        """
        index = self.recommender.vocabulary.encode([item])
        if not index[0]:
            return None
        if self._space is not None and self._space.located[index[0]]:
            return self._near(self._space, index, k)
        if session_index_of(self.recommender) is not None:
            return self._clicked_together(item, k)
        listed = self.answer([Query([item], k, exclude_seen=True)])[0]
        return Similar("recommendations", listed.items, listed.scores, listed.shortage)

    def _near(self, space: "EmbeddingSpace", index: IndexArray, k: int) -> Similar:
        admissible = self.available.admissible & space.located
        found = space.index.search(space.items(index), k, admissible=admissible, seen=Prefixes.of([index]))
        n_found = int(found.found[0])
        shortage = None if n_found == k else f"{n_found} of {k}: no further item may be recommended"
        items = self.recommender.vocabulary.decode(found.items[0, :n_found])
        return Similar("embeddings", items, found.scores[0, :n_found].tolist(), shortage)

    def _clicked_together(self, item: RawId, k: int) -> Similar:
        hidden = self.available.hidden
        found = [one for one in similar_items(self.recommender, item, k + len(hidden)) if one[0] not in hidden][:k]
        shortage = None if len(found) == k else f"{len(found)} of {k}: no further item shares a session with it"
        return Similar("sessions", [one for one, _ in found], [score for _, score in found], shortage)
