"""Errors that end in one line, because the person who reads them can mend the cause."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class UserError(Exception):
    """Something the user can mend: one line on stderr, exit status 2."""

    exit_status = 2


class NotFinite(ArithmeticError):
    """A number that is NaN or infinite where a measurement was expected: the run has FAILED."""

    exit_status = 1


def one_line(error: BaseException) -> str | None:
    """What to tell the user about `error` in one line, or None where a traceback says more.

    Full and read-only disks, locked stores and lost servers are recognised by their text as well as by their
    class, since SQLite, SQLAlchemy, safetensors and requests each wrap them in their own errors.
    """
    if hasattr(error, "exit_status"):
        return " ".join(str(error).split())
    text = str(error)
    code = getattr(error, "errno", None)
    if code in _FULL or "database or disk is full" in text or "No space left" in text:
        return "the disk is full: free some space and run the same command again"
    if "database is locked" in text:
        return "another process has locked the store: when it is done, run the same command again"
    read_only = "readonly database" in text or "Read-only file system" in text
    if read_only or (code in _READ_ONLY and isinstance(error, OSError)):
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return f"writing is not allowed{where}: it is read-only or belongs to somebody else"
    if ("API request to" in text and "failed" in text) or "Max retries exceeded" in text:
        return "the tracking server stopped answering: see MLFLOW_TRACKING_URI, then run again"
    return None


@contextmanager
def in_one_line() -> Iterator[None]:
    """Around the main function of a tool: what the user can mend ends in one line, status 2."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, head perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:  # Ctrl-C, by somebody who knows what has ended
        sys.exit(130)
    except Exception as error:
        message = one_line(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
