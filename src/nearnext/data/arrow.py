"""The parts of pyarrow in use; pyarrow ships no types, so that they are declared untyped here, once."""

from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

__all__ = ["arrow", "arrow_compute", "arrow_csv", "arrow_ipc", "arrow_parquet"]

arrow: Any = pyarrow
arrow_compute: Any = pyarrow.compute
arrow_csv: Any = pyarrow.csv
arrow_ipc: Any = pyarrow.ipc
arrow_parquet: Any = pyarrow.parquet
