"""Opens the store through MLflow, which takes seconds to import and is not imported before."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from ired.lab.content_keys import Keys
from ired.lab.errors import UserError
from ired.lab.tracking.store import Store

if TYPE_CHECKING:
    from ired.lab.tracking.mlflow_client import Tracking


def open_tracking(store: Store, keys: Keys, lasting: bool = False) -> Tracking:
    """The store; `lasting`: for a run, which outlives the loss of a tracking server."""
    # What is imported here and by the scripts is no garbage: looking through it again and again
    # would be a fifth of the seconds that this takes.
    gc.set_threshold(100_000, 20, 20)
    try:
        if lasting and store.uri.startswith("http"):
            from ired.cluster.staging import open_lasting

            return open_lasting(store, keys.queue.phases)
        from ired.lab.tracking.mlflow_client import Tracking

        return Tracking(store, keys.queue.phases)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{sys.executable} has no {error.name}: run `make setup`, then use .venv/bin/python or make"
        ) from None
    finally:
        gc.freeze()
