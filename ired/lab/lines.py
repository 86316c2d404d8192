"""Lines for a terminal, which breaks what is longer than itself in the middle of a word."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import Any


def terminal_width() -> int | None:
    """How wide the terminal is, or None where nobody but a file or a program reads."""
    return max(shutil.get_terminal_size().columns, 40) if sys.stdout.isatty() else None


def wrapped(text: str, indent: str = "  ") -> str:
    """Text in lines that fit, all but the first indented; as it is where there is no terminal."""
    wide = terminal_width()
    return (
        text
        if wide is None
        else textwrap.fill(text, wide, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    )


def cut(text: str, wide: int | None) -> str:
    """Text that has no more characters than `wide`, its end replaced by … where it had."""
    return text if wide is None or len(text) <= wide else text[: wide - 1].rstrip() + "…"


class Audience:
    """Standard output whose reader may leave (`| head`): the run goes on without."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._gone()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._gone()

    def _gone(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
