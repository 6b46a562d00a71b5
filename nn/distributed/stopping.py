"""Ctrl-C and SIGTERM, which reach each rank at another moment, are held until all ranks stop after the same step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def kept_signals() -> Iterator[list[Any]]:
    """Collect Ctrl-C and SIGTERM in the yielded list instead of stopping at once. Signals left in it when the block
    ends take effect then."""
    kept: list[Any] = []
    if threading.current_thread() is not threading.main_thread():
        yield kept
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler is not None}
    for number in before:
        signal.signal(number, lambda *event: kept.append(event))
    try:
        yield kept
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if kept:
        signal.raise_signal(kept[0][0])
