"""The effective time t of a record, and the rule that checks it against the broker's clock (docs/semantics.md)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.contract import Fault

Milliseconds = NDArray[np.int64]


def times(
    ts_ms: Sequence[int | None], append_ms: Milliseconds, future_ms: int, faults: list[Fault | None]
) -> Milliseconds:
    """t of each record in ms, shape (n,). Puts a fault into `faults` for each record from the future.

    A record that was refused before has ts_ms None and gets t = 0.
    """
    sent_ms = np.array([ts or 0 for ts in ts_ms], np.int64)
    for i in np.flatnonzero(sent_ms > append_ms + future_ms):
        limit = append_ms[i] + future_ms
        detail = f"ts_ms: must be <= {limit}, the broker's clock plus {future_ms}, got {sent_ms[i]}"
        faults[i] = Fault("future", detail)
    return np.minimum(sent_ms, append_ms)
