"""All that this project says to MLflow, and the only module that imports it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
logging.getLogger("alembic").setLevel(logging.WARNING)
# It prints a traceback of what it then raises, which may be waited for or be told in one line.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.utils.file_utils import local_file_uri_to_path  # noqa: E402
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID  # noqa: E402
from mlflow.utils.uri import is_local_uri  # noqa: E402

from ired.lab.errors import UserError, one_line  # noqa: E402
from ired.lab.tracking.stand_ins import UnreachableClient, Waiting  # noqa: E402
from ired.lab.tracking.store import DATABASES, SERVED, Stamp, Store, titles  # noqa: E402

_METRICS_A_CALL = 1000
_OTHERS_A_CALL = 100
_LONGEST_TEXT = 5000
_ATTEMPTS = 20
_RUNS_A_CALL = 1000
BEGAN_AS = "began_as"  # the tag of a staged run that had begun on the server: its id there


class Tracking:
    """One connection to the store. Everything is logged synchronously and in batches."""

    unreachable = ""  # why the store is out of reach, where it is

    def __init__(self, store: Store, phases: tuple[str, ...] = ()) -> None:
        self.store = store
        self._phases = phases
        self._staged: dict[str, str] = {}  # runs that wait for this store, and their folders
        self._places: dict[str, Tracking] = {}  # those folders, opened
        try:
            store.reach()
            self.held = store.hold()
            _try_database(store)
            if store.database and not store.database.exists():
                self._create()
            store.relocate()
            self.client: Client = (
                Waiting(store, MlflowClient) if store.database else MlflowClient(tracking_uri=store.uri)
            )
            _ = self._experiments  # opens the store: what is wrong with it shows here
        except UserError:
            raise
        except Exception as error:  # of mlflow, SQLAlchemy, a database driver, the system
            why = one_line(error) or " ".join(str(error).split())
            why = why.replace(store.uri, store.shown)  # which may hold a password
            raise UserError(f"the store {store.shown} cannot be opened: {why}") from None

    def _create(self) -> None:
        """Make the embedded store beside its place and move it there when it is complete.

        MLflow fails when several processes create a store at once, and a store whose creation
        was killed half-way can never be opened again.
        """
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        store, database = self.store, self.store.database
        assert database is not None
        with store.lock("store"):
            if database.exists():
                return
            folder = database.parent / "creating"
            shutil.rmtree(folder, ignore_errors=True)  # left by somebody who was killed
            folder.mkdir(parents=True)
            made = SqlAlchemyStore(f"sqlite:///{folder / 'mlflow.db'}", str(store.artifacts))
            for phase in range(len(self._phases)):
                made.create_experiment(self._titles[phase], str(self._folder(phase)))
            made.engine.dispose()
            os.replace(folder / "mlflow.db", database)
            folder.rmdir()

    def _folder(self, phase: int) -> Path:
        return self.store.artifacts / f"phase{phase}"

    @property
    def _titles(self) -> tuple[str, ...]:
        return titles(self._phases)

    @cached_property
    def _experiments(self) -> dict[str, str]:
        """Experiment ids by name."""
        return {e.name: e.experiment_id for e in self.client.search_experiments()}

    def _experiment(self, phase: int) -> str:
        """The id of the MLflow experiment of a phase, created if this store has none."""
        # A server keeps artifacts where it thinks right; a bare database has no opinion.
        here = None if self.store.uri.startswith("http") else str(self._folder(phase))
        return self._titled(self._titles[phase], here)

    def _titled(self, title: str, here: str | None) -> str:
        if title not in self._experiments:
            try:
                self._experiments[title] = self.client.create_experiment(title, here)
            except MlflowException:  # somebody else was quicker, or has deleted it
                experiment = self.client.get_experiment_by_name(title)
                if experiment is None:
                    raise
                if experiment.lifecycle_stage == "deleted":
                    print(f"the MLflow experiment '{title}' was deleted: it is restored with its runs", flush=True)
                    self.client.restore_experiment(experiment.experiment_id)
                self._experiments[title] = experiment.experiment_id
        return self._experiments[title]

    # Reading

    def search(self, query: str, limit: int | None = None) -> list[Run]:
        """Runs that are not deleted, newest first: all of them, or `limit`."""
        ids, token = list(self._experiments.values()), None
        runs: list[Run] = []
        most = _RUNS_A_CALL if limit is None else min(limit, _RUNS_A_CALL)
        while True:
            page = self.client.search_runs(
                ids, query, max_results=most, page_token=token, order_by=["attributes.start_time DESC"]
            )
            runs += page
            token = page.token
            if not token or (limit is not None and len(runs) >= limit):
                return runs[:limit]

    def finished(self, key: str) -> Run | None:
        """The newest finished run with this key."""
        runs = self.search(f"tags.key = '{key}' and attributes.status = 'FINISHED'", 1)
        return runs[0] if runs else None

    def run(self, run_id: str) -> Run:
        if run_id not in self._staged:
            return self.client.get_run(run_id)
        if (self.store.staging / self._staged[run_id]).exists():
            return self._place(self._staged[run_id]).client.get_run(run_id)
        delivered = self.search(f"tags.staged_from = '{run_id}'", 1)  # delivered in the meantime
        return self.client.get_run(delivered[0].info.run_id if delivered else run_id)

    def expect_staged(self, stamp: Stamp) -> None:
        """The run of this stamp is not in this store yet."""
        self._staged[stamp.run_id] = stamp.staged

    def is_staged(self, run_id: str) -> bool:
        return run_id in self._staged

    def _place(self, name: str) -> Tracking:
        """A folder of staging, which is a store of its own."""
        if name not in self._places:
            self._places[name] = Tracking(staged_in(self.store, name), self._phases)
        return self._places[name]

    def _present(self, run: Run) -> Run:
        """A run as it is now: what waited in staging may have been delivered."""
        return self.run(run.info.run_id) if self.is_staged(run.info.run_id) else run

    def stamp(self, run: Run) -> Stamp:
        """What a stamp says about a finished run."""
        tags, metrics = run.data.tags, run.data.metrics
        criteria = {name: bool(metrics[f"criterion.{name}"]) for name in json.loads(tags.get("criteria", "[]"))}
        folder = run.info.artifact_uri
        if self.store.id == "local" and folder.startswith(SERVED):  # from this very project
            folder = str(self.store.artifacts) + folder.removeprefix(SERVED)
        if is_local_uri(folder):
            path = Path(local_file_uri_to_path(folder))
            folder = str(path.relative_to(self.store.root) if path.is_relative_to(self.store.root) else path)
        return Stamp(
            run_id=run.info.run_id,
            headline=tags.get("headline", ""),
            criteria=criteria,
            seconds=metrics.get("wall_seconds", 0.0),
            artifacts=folder,
            memory_gib=metrics.get("peak_memory_gib", 0.0),
        )

    def artifact(self, run: Run, name: str) -> Path | None:
        """The artifact as a local file, fetched if the store is elsewhere; None if not there."""
        run = self._present(run)
        if is_local_uri(run.info.artifact_uri):
            path = Path(local_file_uri_to_path(run.info.artifact_uri)) / name
            return path if path.exists() else None
        folder = Path(self._downloads.name) / run.info.run_id
        folder.mkdir(exist_ok=True)
        try:
            return Path(self.client.download_artifacts(run.info.run_id, name, str(folder)))
        except MlflowException as error:
            if one_line(error):
                raise
            return None

    def names(self, run: Run, folder: str) -> list[str]:
        """Names of what lies in a folder of a run's artifacts, sorted."""
        run = self._present(run)
        if is_local_uri(run.info.artifact_uri):
            path = Path(local_file_uri_to_path(run.info.artifact_uri)) / folder
            return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        listed = self.client.list_artifacts(run.info.run_id, folder or None)
        return sorted(entry.path.rpartition("/")[2] for entry in listed)

    @cached_property
    def _downloads(self) -> tempfile.TemporaryDirectory:
        return tempfile.TemporaryDirectory(prefix="ired-")

    # Writing

    def start(self, phase: int, name: str, tags: dict[str, str], params: dict) -> str:
        run_id = self.create(phase, name, tags)
        self.params(run_id, params)
        return run_id

    def create(self, phase: int, name: str, tags: dict[str, str], now: int | None = None) -> str:
        created = self.client.create_run(self._experiment(phase), now, run_name=name, tags=tags)
        return created.info.run_id

    def params(self, run_id: str, params: dict) -> None:
        rows = [Param(key, str(value)[:_LONGEST_TEXT]) for key, value in params.items()]
        for batch in _batches(rows, _OTHERS_A_CALL):
            self.client.log_batch(run_id, params=batch, synchronous=True)

    def tags(self, run_id: str, tags: dict[str, str]) -> None:
        rows = [RunTag(key, str(value)[:_LONGEST_TEXT]) for key, value in tags.items()]
        for batch in _batches(rows, _OTHERS_A_CALL):
            self.client.log_batch(run_id, tags=batch, synchronous=True)

    def metrics(self, run_id: str, rows: Iterable[tuple[str, float, int]], now: int | None = None) -> None:
        """Rows of name, value and step; `now` in milliseconds since 1970."""
        now = now or milliseconds()
        metrics = [Metric(name, value, now, step) for name, value, step in rows]
        for batch in _batches(metrics, _METRICS_A_CALL):
            self.client.log_batch(run_id, metrics=batch, synchronous=True)

    def upload(self, run_id: str, path: Path, folder: str | None = None) -> None:
        self.client.log_artifact(run_id, str(path), folder)

    def dataset(self, run_id: str, name: str, digest: str, context: str, source: str) -> None:
        data = Dataset(name, digest, source_type="code", source=json.dumps({"note": source}))
        tag = InputTag("mlflow.data.context", context)
        self.inputs(run_id, [DatasetInput(data, [tag])])

    def inherit_datasets(self, run_id: str, upstream: Iterable[str]) -> None:
        """Note on a run the data that the runs it builds on have seen."""
        inputs = {(i.dataset.name, i.dataset.digest): i for source in upstream for i in _datasets(self.run(source))}
        if inputs:
            self.inputs(run_id, list(inputs.values()))

    def inputs(self, run_id: str, inputs: list[DatasetInput]) -> None:
        """MLflow looks whether a dataset is known and then inserts it: where another process does
        the same in between, all of the call fails, and succeeds once the other is done."""
        for attempt in range(_ATTEMPTS):
            try:
                self.client.log_inputs(run_id, inputs)
                return
            except MlflowException as error:
                if "unique" not in str(error).lower() or attempt + 1 == _ATTEMPTS:
                    raise
                time.sleep(0.05 * attempt)

    def end(self, run_id: str, status: str, now: int | None = None) -> None:
        self.client.set_terminated(run_id, status, now)

    def close(self) -> None:
        """The run has ended, however it did; nothing more is read or written."""
        if self.held:
            self.held.close()

    # Delivering what waited in staging

    def receive(self, place: Tracking, run_id: str, ids: dict[str, str]) -> str:
        """Copy a run of the staging store `place` into this one and return its id here. `ids` maps what
        was delivered before, its parent for one. What a call that was killed has done is found by the
        tag staged_from, and doing it again changes nothing: so each run is here once."""
        run = place.client.get_run(run_id)
        tags = {
            k: self._delivered(v, ids) if k == MLFLOW_PARENT_RUN_ID or k.startswith("upstream.") else v
            for k, v in run.data.tags.items()
            if k != BEGAN_AS
        }
        tags["staged_from"] = run_id
        here = self._begun(run.data.tags.get(BEGAN_AS)) or self._received(run_id)
        if here is None:
            title = place.client.get_experiment(run.info.experiment_id).name
            experiment = (
                self._experiment(self._titles.index(title)) if title in self._titles else self._titled(title, None)
            )
            created = self.client.create_run(experiment, run.info.start_time, tags)
            here = self._received(run_id) or created.info.run_id
        for batch in _batches([RunTag(*tag) for tag in tags.items()], _OTHERS_A_CALL):
            self.client.log_batch(here, tags=batch, synchronous=True)
        self.params(here, run.data.params)
        metrics = [row for name in run.data.metrics for row in place.client.get_metric_history(run_id, name)]
        for batch in _batches(metrics, _METRICS_A_CALL):
            self.client.log_batch(here, metrics=batch, synchronous=True)
        if datasets := _datasets(run):
            self.inputs(here, datasets)
        files = Path(local_file_uri_to_path(run.info.artifact_uri))
        if files.is_dir() and any(files.iterdir()):
            self.client.log_artifacts(here, str(files))
        killed = run.info.status == "RUNNING"  # its process died without a word
        self.end(here, "KILLED" if killed else run.info.status, run.info.end_time)
        there = self.run(here)
        if (there.data.metrics, there.data.params) != (run.data.metrics, run.data.params) or (
            place.names(run, "") != self.names(there, "")
        ):
            raise UserError(f"run {run_id} did not arrive whole: it stays in staging; try again")
        return here

    def point_to(self, name: str, old: str, new: str) -> None:
        """Runs that were built on `old`, before that was delivered as `new`, shall say so."""
        for run in self.search(f"tags.`{name}` = '{old}'"):
            self.tags(run.info.run_id, {name: new})

    def _begun(self, run_id: str | None) -> str | None:
        """The id of a run that began here, if it is still here."""
        try:
            here = run_id and self.client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            here = False
        return run_id if here else None

    def _received(self, staged: str) -> str | None:
        """The id of a delivered run. A request that was repeated because its answer was lost may have
        made two, of which one is enough."""
        run_ids = sorted(run.info.run_id for run in self.search(f"tags.staged_from = '{staged}'"))
        for spare in run_ids[1:]:
            self.client.delete_run(spare)
        return run_ids[0] if run_ids else None

    def _delivered(self, run_id: str, ids: dict[str, str]) -> str:
        return ids.get(run_id) or self._received(run_id) or run_id


Client = MlflowClient | Waiting | UnreachableClient


def _datasets(run: Run) -> list[DatasetInput]:
    return run.inputs.dataset_inputs if run.inputs else []


def _try_database(store: Store) -> None:
    """Raise what is wrong with a database, which mlflow would say only after a minute of attempts."""
    if store.uri.startswith(DATABASES):
        from sqlalchemy import create_engine

        engine = create_engine(store.uri)
        engine.connect().close()
        engine.dispose()


def staged_in(store: Store, name: str) -> Store:
    """The store in a folder of staging."""
    return Store(store.root, f"sqlite:///{store.staging / name / 'mlflow.db'}")


def milliseconds() -> int:
    return int(time.time() * 1000)


def _batches(rows: list, size: int) -> Iterable[list]:
    return (rows[i : i + size] for i in range(0, len(rows), size))
