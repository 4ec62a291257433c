"""The parts of pyarrow in use; pyarrow ships no types, so that they are declared untyped here, once."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, ipc, parquet

arrow: Any = pa
arrow_compute: Any = pc
arrow_csv: Any = csv
arrow_ipc: Any = ipc
arrow_parquet: Any = parquet
