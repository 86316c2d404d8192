"""Errors of many libraries that mean the same to whoever reads them."""

import errno
import sqlite3

import pytest
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError
from sqlalchemy.exc import OperationalError

from ired.lab.errors import NotFinite, UserError, in_one_line, one_line


@pytest.mark.parametrize(
    "error, told",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "the disk is full",
        ),
        (OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full")), "the disk is full"),
        (
            MlflowException("(sqlite3.OperationalError) attempt to write a readonly database"),
            "writing is not allowed: it is read-only",
        ),
        (
            MlflowException("(sqlite3.OperationalError) database is locked\n[SQL: UPDATE runs]"),
            "another process has locked the store",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "not allowed (/a/b)"),
        (
            MlflowException("API request to http://127.0.0.1:1/api failed with exception HTTPConnection"),
            "the tracking server stopped answering",
        ),
        (UserError("this\nis  wrong"), "this is wrong"),
        (NotFinite("'x' is nan"), "'x' is nan"),
    ],
)
def test_what_a_person_can_mend_is_one_line(error, told):
    assert told in one_line(error) and "\n" not in one_line(error)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), FileNotFoundError("x"), RuntimeError("CUDA out of memory")]
)
def test_what_needs_a_traceback_keeps_it(error):
    assert one_line(error) is None


def test_ctrl_c_in_a_tool_has_no_traceback(capfd):
    with pytest.raises((SystemExit, KeyboardInterrupt)) as end, in_one_line():
        raise KeyboardInterrupt
    assert getattr(end.value, "code", None) == 130 and capfd.readouterr().err == ""
