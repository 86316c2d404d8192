"""What a script holds in its hands: a Run to log into, and through it the Results of the runs it builds on."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from ired.lab.checkpoint import Checkpoint
from ired.lab.content_keys import Keys, digest
from ired.lab.errors import NotFinite, UserError
from ired.lab.profiles import Profile
from ired.lab.progress import Progress
from ired.lab.queue import COORDINATES, Experiment, RunCoordinates
from ired.lab.tracking.result import Result
from ired.lab.tracking.results import Shelf
from ired.lab.tracking.store import WORK_DONE

if TYPE_CHECKING:  # tracking imports mlflow, which takes seconds
    from ired.lab.tracking.mlflow_client import Tracking


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finite(name: str, value: Any, step: int | None = None) -> float:
    """`value` (a Python, numpy or torch scalar) as a float, or NotFinite."""
    number = float(value)
    if not math.isfinite(number):
        where = "" if step is None else f" at step {step}"
        raise NotFinite(f"'{name}' is {number}{where}: the run stops here")
    return number


@dataclass
class Upstream:
    """Finished runs that an experiment needs, found before it starts."""

    exp: Experiment
    at: RunCoordinates
    result: Result


class Run:
    """One run of an experiment. Files go to MLflow as soon as they are logged."""

    def __init__(
        self,
        tracking: Tracking,
        keys: Keys,
        exp: Experiment,
        at: RunCoordinates,
        key: str,
        run_id: str,
        params: Mapping[str, Any],
        profile: Profile,
        device: str,
        criteria: Mapping[str, str],
        upstream: Sequence[Upstream],
        force: bool = False,
    ) -> None:
        self._force = force
        self._tracking, self._keys, self._exp, self.at = tracking, keys, exp, at
        self._upstream = upstream
        self._declared = criteria
        self._work: list[Path] = []
        self._passing: Path | None = None
        self.exp_id, self.seed, self.variant = exp.id, at.seed, at.variant
        self.key, self.run_id, self.profile, self.device = key, run_id, profile, device
        self.params = SimpleNamespace(**params)
        self.criteria: dict[str, bool] = {}
        self.headline_text = ""

    # Numbers

    def metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers (Python, numpy or torch scalars), all of one step in one call."""
        rows = [(name, finite(name, value, step), step or 0) for name, value in values.items()]
        self._tracking.metrics(self.run_id, rows)

    def series(self, values: Mapping[str, Sequence[tuple[int, Any]]]) -> None:
        """Log whole curves, {name: [(step, value), ...]}, in few calls."""
        rows = [
            (name, finite(name, value, step), int(step)) for name, points in values.items() for step, value in points
        ]
        self._tracking.metrics(self.run_id, rows)

    def criterion(self, name: str, met: Any, **numbers: Any) -> None:
        """Decide a declared criterion, with the numbers behind the decision."""
        if name not in self._declared:
            raise KeyError(f"criterion '{name}' is not declared by {self.exp_id}")
        self.criteria[name] = bool(met)
        values = {f"criterion.{name}": float(self.criteria[name])}
        self.metrics(values | {f"criterion.{name}.{k}": v for k, v in numbers.items()})

    def child(
        self,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, Any],
        series: Mapping[str, Sequence[tuple[int, Any]]] | None = None,
        tags: Mapping[str, str] | None = None,
        **at: Any,
    ) -> None:
        """A finished run nested under this one, so that members of a sweep compare in MLflow.

        series are curves as in `series`; tags what nobody compares; `at` names its coordinates where
        they are not this run's (seed=3, variant="random").
        """
        rows = [(metric, finite(metric, value), 0) for metric, value in metrics.items()]
        rows += [
            (metric, finite(metric, value, step), int(step))
            for metric, points in (series or {}).items()
            for step, value in points
        ]
        tags = {"mlflow.parentRunId": self.run_id, "part_of": self.exp_id} | dict(tags or {})
        tags |= {c: str(at.get(c, getattr(self.at, c))) for c in COORDINATES}
        run_id = self._tracking.start(self._exp.phase, name, tags, dict(params))
        self._tracking.metrics(run_id, rows)
        self._tracking.end(run_id, "FINISHED")

    def headline(self, label: str, value: Any, low: Any = None, high: Any = None) -> None:
        """The one number of this experiment, with its interval."""
        numbers = {"headline": value}
        numbers |= {} if low is None else {"headline.low": low, "headline.high": high}
        self.metrics(numbers)
        self.headline_text = f"{label} {float(value):.4g}"
        if low is not None:
            self.headline_text += f" [{float(low):.4g}, {float(high):.4g}]"
        self._tracking.tags(self.run_id, {"headline": self.headline_text})

    # Files

    def table(self, name: str, columns: Any) -> None:
        """A pandas DataFrame or a dict of equally long columns, as parquet."""
        import pandas

        if not isinstance(columns, pandas.DataFrame):
            columns = {k: v.detach().cpu().numpy() if hasattr(v, "detach") else v for k, v in columns.items()}
        with self._file(f"{name}.parquet") as path:
            pandas.DataFrame(columns).to_parquet(path, index=False)

    def tensors(self, name: str, tensors: Mapping[str, Any], meta: Mapping | None = None) -> None:
        """Torch tensors or numpy arrays as safetensors; `meta` is anything JSON can hold."""
        import torch
        from safetensors.torch import save_file

        # A tensor of its own for each name: safetensors refuses two views of one storage.
        ready = {
            k: torch.as_tensor(v).detach().cpu().clone(memory_format=torch.contiguous_format)
            for k, v in tensors.items()
        }
        with self._file(f"{name}.safetensors") as path:
            save_file(ready, path, {"meta": json.dumps(dict(meta or {}))})

    def json(self, name: str, value: Any) -> None:
        with self._file(f"{name}.json") as path:
            path.write_text(json.dumps(value, indent=1, default=_plain) + "\n")

    def text(self, name: str, text: str) -> None:
        with self._file(f"{name}.txt") as path:
            path.write_text(text)

    def html(self, name: str, text: str) -> None:
        with self._file(f"{name}.html") as path:
            path.write_text(text)

    def figure(self, name: str, figure: Any, caption: str = "") -> bytes:
        """A matplotlib figure as png and svg in figures/, its caption beside it as txt; returns the png.

        Tests are all that reads the figures of "tiny": they are not laid out and have no svg.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        # savefig would lay the figure out twice and draw it four times.
        smoke = self.profile.name == "tiny"
        figure.set_dpi(75 if self.profile.sizes == "tiny" else 150)
        if (engine := figure.get_layout_engine()) and not smoke:
            engine.execute(figure)
        figure.set_layout_engine("none")
        with self._file(f"{name}.png", "figures") as path:
            FigureCanvasAgg(figure).print_png(path)
            png = path.read_bytes()
        if not smoke:
            with self._file(f"{name}.svg", "figures") as path:
                FigureCanvasSVG(figure).print_svg(path)
        if caption:
            with self._file(f"{name}.txt", "figures") as path:
                path.write_text(caption + "\n")
        return png

    def file(self, path: Path | str, name: str | None = None) -> None:
        """A file that exists already, under `name` or its own."""
        with self._file(name or Path(path).name) as copy:
            shutil.copyfile(path, copy)

    @contextmanager
    def _file(self, name: str, folder: str | None = None) -> Iterator[Path]:
        """A place to write a file, which is uploaded once it is complete."""
        with tempfile.TemporaryDirectory(prefix="ired-") as place:
            path = Path(place) / name
            yield path
            self._tracking.upload(self.run_id, path, folder)

    # What surrounds the run

    def upstream(self, exp_id: str, seed: int | None = None, variant: str | None = None) -> Result:
        """The result of a declared need; `seed` and `variant` tell several of them apart."""
        matching = [
            up.result
            for up in self._upstream
            if up.exp.id == exp_id and seed in (None, up.at.seed) and variant in (None, up.at.variant)
        ]
        if len(matching) != 1:
            raise KeyError(
                f"{self.exp_id} asks for {exp_id} (seed {seed}, variant {variant}): "
                f"{len(matching)} of its needs in pipeline.json are that, where one is wanted"
            )
        return matching[0]

    def upstreams(self, exp_id: str) -> dict[tuple[str, int], Result]:
        """All results of a declared need, by (variant, seed), in the order of pipeline.json."""
        return {(up.at.variant, up.at.seed): up.result for up in self._upstream if up.exp.id == exp_id}

    def shelf(self) -> Shelf:
        """All finished runs of the present code, for an experiment that reads what all others found."""
        return Shelf(self._tracking, self._keys)

    def logged(self) -> Result:
        """What this run has logged so far, read through MLflow."""
        return Result(self._tracking, self.run_id, self._exp.name(self.at), self._exp.target(self.at))

    def gate(self, exp_id: str) -> None:
        """Go on only if the upstream experiment `exp_id` decided for a go."""
        decision = self.upstream(exp_id).json("decision")
        if not decision["go"]:
            raise UserError(
                f"{exp_id} decided no-go for lack of {', '.join(decision['not_met'])}: "
                f"see its run, mend that, and start again"
            )

    def kept(self) -> tuple[Path, dict] | None:
        """The result of this experiment that the project keeps, if it does, and its provenance."""
        name = self._exp.provenance(self.at)
        if not name or not (self._keys.root / name).is_file():
            return None
        provenance = json.loads((self._keys.root / name).read_text())
        path = (self._keys.root / name).with_suffix(".safetensors")
        if not path.is_file() or sha256(path) != provenance["sha256"]:
            raise UserError(
                f"{path} is missing or is not the file that {name} describes: restore it "
                f"(`git checkout {path.parent.name}`), or train anew with --retrain"
            )
        return path, provenance

    def workdir(self, *modules: str | ModuleType, ignoring: tuple[str, ...] = (), goes_on: bool = False) -> Path:
        """A folder for work that can be resumed: the same one as long as what decides the work
        (parameters but those `ignoring`, profile, seed, variant, the sources of `modules`) is. A run
        that is forced begins finished work anew. `goes_on`: the work will not be finished when this run
        is, so `clean` leaves it."""
        names = [m if isinstance(m, str) else m.__name__ for m in modules]
        files = []
        for name in names:
            if (file := self._keys.module(name)) is None:
                raise KeyError(f"workdir: no module of this project is called {name}")
            files.append(file)
        params = {k: v for k, v in vars(self.params).items() if k not in ignoring}
        key = digest(
            params, self.profile.name, self.profile.sections(), self.seed, self.variant, self._keys.sources(*files)
        )
        path = self._tracking.store.folder / "work" / f"{self.exp_id}-{key}"
        if self._force and (path / WORK_DONE).exists():
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        (path / WORK_DONE).unlink(missing_ok=True)
        if not goes_on:
            self._work.append(path)
        return path

    def checkpoint(self, name: str) -> Checkpoint:
        """A state of long work, found again by a run with the same content key, gone when one is finished."""
        path = self._tracking.store.folder / "work" / f"{self.exp_id}-{self.key}"
        path.mkdir(parents=True, exist_ok=True)
        self._passing = path
        return Checkpoint(path / f"{name}.safetensors")

    def progress(self, total: int, label: str) -> Progress:
        return Progress(total, label)

    def dataset(self, name: str, digest: str, context: str, source_note: str) -> None:
        """Note which data this run has seen (`context`: training, test, ...)."""
        self._tracking.dataset(self.run_id, name, digest, context, source_note)

    # The end

    def complete(self) -> None:
        """Check that everything promised was delivered. Called once, after the script."""
        undecided = sorted(set(self._declared) - set(self.criteria))
        if undecided:
            raise KeyError(f"{self.exp_id} declared but never decided: {', '.join(undecided)}")

    def mark_work_done(self) -> None:
        for path in self._work:
            (path / WORK_DONE).touch()
        if self._passing:
            shutil.rmtree(self._passing, ignore_errors=True)


def _plain(value: Any) -> Any:
    """numpy and torch values as JSON knows them; dataclasses by their fields."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    return str(value)
