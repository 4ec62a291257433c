"""The model directory that is watched: what is put there is tried, and taken over or refused with a reason."""

import logging
import shutil
from pathlib import Path

from nearnext.atomic import whole_folder
from nearnext.errors import NearnextError
from nearnext.serving.model import MANIFEST, LoadedModel, artifact_signature, load_model

log = logging.getLogger(__name__)


class ModelWatcher:
    """Loads the model in a directory whenever it changes, and keeps a copy of the last model that worked.

    With the copy a process starts even if the directory holds a model that is refused.

    Args:
        folder: the model directory.
        kept: where the copy is kept.
        onnx: whether onnxruntime encodes sessions where that is faster.

    Attributes:
        refused: why the model there now is not served, or None.
    """

    def __init__(self, folder: Path, kept: Path, *, onnx: bool = False) -> None:
        self._folder, self._kept, self._onnx = folder, kept, onnx
        self._signature = artifact_signature(folder)
        self.refused: str | None = None

    @property
    def changed(self) -> bool:
        """Whether there is something else than what was last looked at."""
        return artifact_signature(self._folder) != self._signature

    def first(self) -> LoadedModel:
        """The model to begin with.

        Raises:
            NearnextError: neither the directory nor the copy holds a model that works.
        """
        loaded = self.look()
        if loaded is not None:
            return loaded
        if (self._kept / MANIFEST).is_file():
            try:
                return load_model(self._kept, onnx=self._onnx)
            except NearnextError as error:
                log.warning("%s cannot be served either: %s", self._kept, error)
        raise self._error

    def look(self) -> LoadedModel | None:
        """The model there now; None: it is refused, and ``refused`` says why. It takes a while."""
        self._signature = artifact_signature(self._folder)
        try:
            loaded = load_model(self._folder, onnx=self._onnx)
        except NearnextError as error:
            self._error, self.refused = error, str(error)
            return None
        self.refused = None
        self._keep()
        return loaded

    def _keep(self) -> None:
        try:
            if _same(self._folder / MANIFEST, self._kept / MANIFEST):
                return
            with whole_folder(self._kept) as fresh:
                for file in self._folder.iterdir():
                    if file.is_file():
                        shutil.copyfile(file, fresh / file.name)
                if self.changed:
                    raise OSError("it was replaced meanwhile")
        except OSError as error:
            log.warning("no copy of the model is kept in %s (%s)", self._kept, error)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
