"""For processes under libfaketime whose monotonic clock stays the machine's.

libfaketime 0.9.10 refuses the absolute sleep that Python's `time.sleep` asks for; `select` waits as
well. Python imports this file by its name when it starts with this folder on PYTHONPATH.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex) -> None:
    wait = float(seconds)
    if wait < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], wait)


time.sleep = _sleep
