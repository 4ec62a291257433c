"""Read the raw rows of item files (text, JSON lines, Parquet) and frames, and record rows that cannot be read."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import narwhals as nw
import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from nearnext.data.chunks import with_named_index
from nearnext.data.delimited import DelimitedReader
from nearnext.data.files import LogFile, blocks, data_errors, identify, log_files
from nearnext.data.jsonlines import json_object
from nearnext.errors import DataError


class RawItems(NamedTuple):
    """One source of items: raw columns, whether they are typed, rejected rows."""

    where: str
    frame: pl.DataFrame
    typed: bool
    rejected: Counter[str]


def raw_items(source: object) -> list[RawItems]:
    """Read the rows of each file of a path, folder, glob or list of them, or of a frame."""
    if isinstance(source, str | Path):
        return [_raw_file(path) for path in log_files(source, what="item table")[0]]
    if isinstance(source, Sequence):
        return [raw for each in cast("Sequence[object]", source) for raw in raw_items(each)]
    try:
        native: Any = nw.from_native(with_named_index(source))
        frame: nw.DataFrame[Any] = native.collect() if isinstance(native, nw.LazyFrame) else native
        columns = [_of_frame(frame[name]).alias(str(name)) for name in frame.columns]
    except TypeError as error:
        raise DataError(
            f"expected a path or a pandas, polars or pyarrow frame of items, found {type(source).__name__}"
        ) from error
    except (ValueError, PolarsError) as error:
        raise DataError(f"cannot read the item frame: {' '.join(str(error).split())}; correct it first") from error
    return [RawItems("frame", pl.DataFrame(columns), True, Counter())]


def _of_frame(column: "nw.Series[Any]") -> pl.Series:
    try:
        return column.to_polars()
    except (TypeError, ValueError, PolarsError):
        return mixed(column.to_list())


def mixed(values: Sequence[object]) -> pl.Series:
    """A column of Python values; mixed types become text, or lists of text if one value is a list."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) <= 1 or kinds == {int, float}:
        try:
            return pl.Series(values, strict=kinds != {int, float})
        except (TypeError, OverflowError, PolarsError):
            pass
    if list in kinds:
        each = [cast("list[object]", value) if isinstance(value, list) else [value] for value in values]
        return pl.Series([[_text(one) for one in value] for value in each], dtype=pl.List(pl.String))
    return pl.Series([_text(value) for value in values], dtype=pl.String)


def _text(value: object) -> str | None:
    return None if value is None or value != value else str(value)  # noqa: PLR0124 - a missing number


def _raw_file(path: Path) -> RawItems:
    file = identify(path)
    if file.format == "empty":
        raise DataError(f"{path} is empty; expected a header and one row per item, e.g. item_id,title,category,price")
    if file.format == "text":
        return _raw_text(file)
    if file.format == "jsonl":
        return _raw_json(file)
    with data_errors(path):
        return RawItems(path.name, pl.read_parquet(path, glob=False), True, Counter())


def _raw_text(file: LogFile) -> RawItems:
    reader = DelimitedReader(file, {})
    names = reader.names or reader.first_row  # the first line of an item file is its header
    if len(set(names)) < len(names):
        raise DataError(f"{file.path}: two columns have the same name; found {', '.join(names)}; rename one")
    keys = names if reader.names else [f"column {number}" for number in range(1, len(names) + 1)]
    # The reader of logs tells rows from lines of a quoted text by the column of times: here by the first column.
    roles: Any = {"time": keys[0], **dict(zip(names, keys, strict=True))}
    rejected, parts = Counter[str](), list[pl.DataFrame]()
    skipped = 0 if reader.names else 1
    for chunk in reader.chunks(roles):
        damaged = np.zeros(chunk.frame.height, np.bool_)
        for reason, where in chunk.faults:
            rejected[reason] += int(np.count_nonzero(where & ~damaged))
            damaged |= where
        for row in chunk.rejected:
            rejected[row.reason] += 1
        parts.append(chunk.frame.filter(pl.Series(~damaged))[skipped if chunk.frame.height else 0 :])
        skipped = 0 if chunk.frame.height else skipped
    return RawItems(file.path.name, pl.concat(parts).select(names), False, +rejected)


def _raw_json(file: LogFile) -> RawItems:
    lines = [line for block, _ in blocks(file) for line in block.splitlines() if line.strip()]
    rows = [json_object(line) for line in lines]
    found = [row for row in rows if row is not None]
    names = dict.fromkeys(name for row in found for name in row)
    frame = pl.DataFrame([mixed([row.get(name) for row in found]).alias(name) for name in names])
    return RawItems(file.path.name, frame, True, +Counter({"malformed JSON": len(rows) - len(found)}))
