"""`Sessions` as a Python sequence, a frame and a notebook table."""

from typing import TYPE_CHECKING, Any, overload

import numpy as np
import polars as pl

from nearnext.shown import ROWS, card
from nearnext.types import BoolArray, Int64Array, RawId

if TYPE_CHECKING:
    from nearnext.data.sessions import Sessions


class SessionViews:
    """A sequence of lists of raw item ids; a slice or a mask gives `Sessions`."""

    def __len__(self: "Sessions") -> int:  # pyright: ignore[reportGeneralTypeIssues]
        return self.n_sessions

    def __bool__(self) -> bool:
        return True  # an empty log is still given

    @overload
    def __getitem__(self, which: int) -> list[RawId]: ...
    @overload
    def __getitem__(self, which: "slice | BoolArray | Int64Array | list[int]") -> "Sessions": ...
    def __getitem__(self: Any, which: Any) -> Any:
        if np.ndim(which) == 0 and not isinstance(which, slice):
            if isinstance(which, bool | np.bool_) or not hasattr(which, "__index__"):
                raise TypeError(
                    f"expected a session's number, a slice or a mask, found {which!r}; give for example log[0]"
                )
            number = int(which) + self.n_sessions * (which < 0)
            if not 0 <= number < self.n_sessions:
                raise IndexError(f"expected a session in 0..{self.n_sessions - 1}, found {which}")
            return self.raw(number)
        return self.select(np.arange(self.n_sessions)[which] if isinstance(which, slice) else which)

    def to_frame(self: "Sessions") -> pl.DataFrame:  # pyright: ignore[reportGeneralTypeIssues]
        """One row per click: session_id, item_id (null if not in the vocabulary), timestamp (UTC)."""
        ids = pl.concat([pl.Series([None], dtype=self.vocabulary.ids.dtype), self.vocabulary.ids])
        return pl.DataFrame(
            {
                "session_id": self.session_ids.gather(self.session_of_event()),
                "item_id": ids.gather(self.items),
                "timestamp": pl.Series(self.times).cast(pl.Datetime("us", "UTC")),
            }
        )

    def __repr__(self: "Sessions") -> str:  # pyright: ignore[reportGeneralTypeIssues]
        return f"Sessions({self.n_sessions:,} sessions, {self.n_events:,} clicks, {self.n_items:,} items)"

    def _repr_html_(self: "Sessions") -> str:  # pyright: ignore[reportGeneralTypeIssues]
        return card(repr(self), self.select(np.arange(min(self.n_sessions, ROWS))).to_frame().head(ROWS))
