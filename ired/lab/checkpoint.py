"""Work half done, kept in a file now and then, so that a killed job goes on where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVERY = 30.0  # seconds


class Checkpoint:
    """One state in one file: tensors by name, and anything JSON can hold beside them."""

    def __init__(self, path: Path, every: float = EVERY) -> None:
        self._path, self._every, self._last = path, every, time.monotonic()

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors (on the CPU) and notes of the last state; None where there is none that is whole."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path, "pt") as file:
                notes = json.loads((file.metadata() or {})["notes"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            print(f"  goes on from {self._path.stem}, step {notes.get('step', '?')}", flush=True)
            return tensors, notes
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            print(f"  {self._path} cannot be read ({error}): this begins anew", flush=True)
            return None

    def due(self) -> bool:
        """Whether the last state is old enough for another one."""
        return time.monotonic() - self._last >= self._every

    def save(self, tensors: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Replace the last state, as a whole or not at all."""
        from safetensors.torch import save_file

        part = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            ready = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
            save_file(ready, part, {"notes": json.dumps(dict(notes))})
            os.replace(part, self._path)
        finally:
            part.unlink(missing_ok=True)
        self._last = time.monotonic()
