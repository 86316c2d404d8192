"""Lines for a terminal, which breaks what is longer than itself in the middle of a word."""

from __future__ import annotations

import shutil
import sys
import textwrap


def columns() -> int | None:
    """How wide the terminal is, or None where nobody but a file or a program reads."""
    return max(shutil.get_terminal_size().columns, 40) if sys.stdout.isatty() else None


def wrapped(text: str, indent: str = "  ") -> str:
    """Text in lines that fit, all but the first indented; as it is where there is no terminal."""
    wide = columns()
    return (
        text
        if wide is None
        else textwrap.fill(text, wide, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    )


def cut(text: str, wide: int | None) -> str:
    """Text that has no more characters than `wide`, its end replaced by … where it had."""
    return text if wide is None or len(text) <= wide else text[: wide - 1].rstrip() + "…"
