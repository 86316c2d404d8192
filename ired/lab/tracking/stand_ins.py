"""What stands in the place of an MLflow client: one that waits for a locked store, one that has no server."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ired.lab.errors import UserError
from ired.lab.tracking.store import LOCKED_SECONDS, Store


class Waiting:
    """A client of an embedded store, which waits while another process has it locked. A call that
    found it locked is repeated: what it had written before, MLflow takes twice and keeps once."""

    def __init__(self, store: Store, client: Callable[..., Any]) -> None:
        self._shown = store.shown
        self._client = self._patiently(client, tracking_uri=store.uri)

    def __getattr__(self, name: str) -> Any:
        return partial(self._patiently, getattr(self._client, name))

    def _patiently(self, call: Callable, *args: Any, **named: Any) -> Any:
        deadline, said = time.monotonic() + LOCKED_SECONDS, False
        while True:
            try:
                return call(*args, **named)
            except Exception as error:  # of MLflow, or of SQLAlchemy while it opens the store
                if "database is locked" not in str(error) or time.monotonic() > deadline:
                    raise
                if not said:
                    print(f"the store {self._shown} is locked by another process: waiting for that", flush=True)
                said = True
                time.sleep(0.5)


class UnreachableClient:
    """In the place of a client, where there is no server to talk to."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __getattr__(self, name: str) -> Any:
        raise UserError(self._why)
