"""Progress of a long loop: a bar on a terminal, one plain line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

SECONDS_BETWEEN_LINES = 30
SECONDS_BETWEEN_BARS = 0.2


class Progress:
    """with Progress(total, "training") as bar: ... bar.update(loss=loss)

    Values shown may be tensors on a GPU: they are only looked at when something is printed.
    """

    def __init__(self, total: int, label: str) -> None:
        self._total, self._label = total, label
        self._done = 0
        self._started = self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.update(self._done - self._bar.n)
            self._bar.close()

    def update(self, n: int = 1, **shown: Any) -> None:
        """Count `n` more as done and show the values given."""
        self._done += n
        now = time.monotonic()
        if now - self._last < (SECONDS_BETWEEN_BARS if self._bar else SECONDS_BETWEEN_LINES):
            return
        self._last = now
        values = {name: f"{float(value):.4g}" for name, value in shown.items()}
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update(self._done - self._bar.n)
            return
        passed = now - self._started
        left = passed / self._done * (self._total - self._done)
        text = "".join(f", {name} {value}" for name, value in values.items())
        print(
            f"{self._label}: {self._done} of {self._total}{text}, {passed:.0f} s so far, about {left:.0f} s left",
            flush=True,
        )
