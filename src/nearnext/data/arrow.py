"""The parts of pyarrow in use; pyarrow ships no types, so that they are declared untyped here, once."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, ipc, parquet

arrow: Any = pa
arrow_compute: Any = pc
arrow_csv: Any = csv
arrow_ipc: Any = ipc
arrow_parquet: Any = parquet


@contextmanager
def python_signals() -> Generator[None]:
    """Leave signals to Python while pyarrow reads CSV: its own handlers may lose one that comes as reading ends."""
    arrow.enable_signal_handlers(False)
    try:
        yield
    finally:
        arrow.enable_signal_handlers(True)


@contextmanager
def parquet_file(file: Path | IO[bytes]) -> Generator[Callable[[pl.DataFrame], None]]:
    """A function that appends frames to a Parquet file, which has the columns of the first."""
    writer: Any = None
    with ExitStack() as stack:

        def append(frame: pl.DataFrame) -> None:
            nonlocal writer
            table = cast("Any", frame).to_arrow()
            writer = writer or stack.enter_context(arrow_parquet.ParquetWriter(file, table.schema, compression="zstd"))
            writer.write_table(table)

        yield append
