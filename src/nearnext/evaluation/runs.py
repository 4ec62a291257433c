"""Lists and relevance judgements as TREC files, for trec_eval, ranx and ir_measures."""

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import numpy as np
import polars as pl

from nearnext.atomic import made_folder, whole_file
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError
from nearnext.options import path_of
from nearnext.recommenders.ranking import Ranking
from nearnext.types import ScoreArray

UNKNOWN = "%unknown"
"""The item id in qrels for a next item that is not in training; no raw id is written like this."""


class RunLists:
    """The lists of all cases of test sessions, written line by line as they are ranked."""

    def __init__(self, file: IO[bytes], tag: str, test: Sessions, vocabulary: Vocabulary) -> None:
        self._file, self._tag = file, _field(tag)
        self._queries, self._ids = query_ids(test), _fields(vocabulary.ids)
        self._done = 0

    def add(self, ranking: Ranking) -> None:
        """Write the lists of the next B cases.

        Scores are those of the method. A score not below the previous one (a tie, an item filled from popularity) is
        lowered to the next smaller number, so that tools that sort by score keep the order.
        """
        row, column = np.nonzero(ranking.items)
        lines = pl.DataFrame(
            {
                "query": self._queries.gather(self._done + row),
                "Q0": pl.repeat("Q0", len(row), eager=True),
                "item": self._ids.gather(ranking.items[row, column] - 1),
                "rank": column + 1,
                "score": _falling(ranking.scores)[row, column],
                "tag": pl.repeat(self._tag, len(row), eager=True),
            }
        )
        _write(lines, self._file)
        self._done += len(ranking)


def query_ids(test: Sessions) -> pl.Series:
    """The id of each case: the session's raw id and the number of clicks given, as ``s-17:2``: [C]."""
    prefixes = Prefixes.every(test)
    sessions = test.session_of_event()[prefixes.starts]
    return pl.select(pl.format("{}:{}", _fields(test.session_ids).gather(sessions), prefixes.lengths)).to_series()


class RunFolder:
    """A folder with one TREC run per method."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = made_folder(path_of("folder of lists", folder), "write lists to")

    def path(self, name: str) -> Path:
        """A file of the folder; characters that are not portable in file names become -."""
        return self.folder / re.sub(r"[^\w.+-]", "-", name)

    def require_writable(self, names: Iterable[str]) -> None:
        """A check that a file can take each name, before the work that fills them."""
        for name in names:
            if self.path(name).is_dir():
                raise ConfigError(f"cannot write {self.path(name)}: it is a folder; name another folder for lists")

    @contextmanager
    def lists(self, name: str, test: Sessions, vocabulary: Vocabulary) -> Generator[RunLists]:
        """Write the lists of a method to ``NAME.run``, which appears when all are added."""
        with whole_file(self.path(f"{name}.run")) as unfinished, unfinished.open("wb") as file:
            yield RunLists(file, name, test, vocabulary)


def write_judgements(path: Path, test: Sessions) -> None:
    """Write the next item of each case as TREC qrels: query id, 0, item id, 1."""
    prefixes = Prefixes.every(test)
    targets = test.items[prefixes.ends]
    ids = pl.concat([pl.Series([UNKNOWN], dtype=pl.String), _fields(test.vocabulary.ids)])
    lines = pl.DataFrame({"query": query_ids(test), "0": 0, "item": ids.gather(targets), "relevance": 1})
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        _write(lines, file)


def _write(lines: pl.DataFrame, file: IO[bytes]) -> None:
    lines.write_csv(file, include_header=False, separator=" ", quote_style="never")


def _fields(ids: pl.Series) -> pl.Series:
    """Raw ids as blank-separated fields, with white space and % percent-encoded."""
    texts = ids.cast(pl.String)
    if not texts.str.contains(r"[\s%]").any():
        return texts
    return texts.map_elements(_field, return_dtype=pl.String)


def _field(text: str) -> str:
    return re.sub(r"[\s%]+", lambda found: quote(found.group(), safe=""), text)


def _falling(scores: ScoreArray) -> ScoreArray:
    """Scores lowered where needed to decrease strictly along each list."""
    falling = scores.copy()
    for column in range(1, scores.shape[1]):
        below = np.nextafter(falling[:, column - 1], np.float32(-np.inf))
        falling[:, column] = np.minimum(falling[:, column], below)
    return falling
