"""A finished run, read through MLflow: its numbers, criteria, tables, tensors and files."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ired.lab.errors import UserError

if TYPE_CHECKING:
    from ired.lab.tracking.mlflow_client import Tracking


class Result:
    """What a finished run has logged, each thing read when it is asked for and named where it is damaged."""

    def __init__(self, tracking: Tracking, run_id: str, name: str, target: str) -> None:
        self._tracking, self._target = tracking, target
        self.run_id, self.name = run_id, name

    @cached_property
    def _run(self) -> Any:
        return self._tracking.run(self.run_id)

    @property
    def metrics(self) -> dict[str, float]:
        return self._run.data.metrics

    @property
    def params(self) -> dict[str, str]:
        return self._run.data.params

    @property
    def tags(self) -> dict[str, str]:
        return self._run.data.tags

    @property
    def criteria(self) -> dict[str, bool]:
        return self._tracking.stamp(self._run).criteria

    @property
    def headline(self) -> str:
        return self._tracking.stamp(self._run).headline

    @property
    def experiment(self) -> str:
        """The id of the MLflow experiment that it is in."""
        return self._run.info.experiment_id

    @property
    def started(self) -> float:
        """When, in seconds since 1970."""
        return self._run.info.start_time / 1000

    @property
    def data(self) -> list[tuple[str, str, str]]:
        """Name, digest and context of every dataset that it has seen."""
        return [
            (
                dataset_input.dataset.name,
                dataset_input.dataset.digest,
                dataset_input.tags[0].value if dataset_input.tags else "",
            )
            for dataset_input in self._run.inputs.dataset_inputs
        ]

    def names(self, folder: str = "") -> list[str]:
        """What lies in a folder of its artifacts, sorted."""
        return self._tracking.names(self._run, folder)

    def path(self, name: str) -> Path:
        """An artifact as a local file. Read it, never change it."""
        path = self._tracking.artifact(self._run, name)
        if path is None:
            raise self._damaged(name, "it is not there")
        return path

    def table(self, name: str) -> Any:
        """A table as a pandas DataFrame."""
        import pandas

        return self._read(f"{name}.parquet", pandas.read_parquet)

    def tensors(self, name: str) -> dict[str, Any]:
        """Named torch tensors on the CPU."""
        from safetensors.torch import load_file

        return self._read(f"{name}.safetensors", load_file)

    def meta(self, name: str) -> dict[str, Any]:
        """What was noted beside the tensors."""
        from safetensors import safe_open

        def read(path: Path) -> dict:
            with safe_open(path, "numpy") as file:
                return json.loads((file.metadata() or {}).get("meta", "{}"))

        return self._read(f"{name}.safetensors", read)

    def json(self, name: str) -> Any:
        return self._read(f"{name}.json", lambda path: json.loads(path.read_text()))

    def text(self, name: str) -> str:
        return self._read(f"{name}.txt", lambda path: path.read_text())

    def _read(self, name: str, reader: Any) -> Any:
        path = self.path(name)
        try:
            return reader(path)
        except Exception as error:  # each format has its own class for a file cut short
            raise self._damaged(name, f"it cannot be read ({error})") from error

    def _damaged(self, name: str, why: str) -> UserError:
        return UserError(
            f"{name} of {self.name} (run {self.run_id}): {why}; make it anew with `{self._target} ARGS=--force`"
        )
