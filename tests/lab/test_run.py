"""What a script logs comes back as it was, whatever kind of thing it is."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from ired.lab import progress
from ired.lab.content_keys import Keys
from ired.lab.errors import NotFinite, UserError
from ired.lab.profiles import PROFILES
from ired.lab.queue import RunCoordinates, load
from ired.lab.run import Run
from ired.lab.tracking.mlflow_client import Tracking
from ired.lab.tracking.result import Result
from ired.lab.tracking.store import Store


@pytest.fixture
def tracking(project) -> Tracking:
    return Tracking(Store(project.root), load(project.root).phases)


@pytest.fixture
def run(project, tracking) -> Run:
    keys = Keys(project.root, load(project.root))
    run_id = tracking.start(1, "a run", {"exp_id": "P1-01"}, {f"p{i}": i for i in range(150)})
    return Run(
        tracking,
        keys,
        keys.queue["P1-01"],
        RunCoordinates("tiny"),
        "key",
        run_id,
        {"points": 8},
        PROFILES["tiny"],
        "cpu",
        {"good": "it is good"},
        [],
    )


@pytest.fixture
def result(run, tracking) -> Result:
    return Result(tracking, run.run_id, "P1-01 tiny seed 0", "make P1-01 PROFILE=tiny")


def test_numbers(run, result):
    run.metrics({"python": 1, "numpy": np.float32(2), "torch": torch.tensor(3.0)})
    run.series({"loss": [(step, torch.tensor(0.5 ** min(step, 9))) for step in range(2500)]})
    run.criterion("good", np.bool_(False), x=np.float64(0.25))
    run.headline("MSE", 0.0123456, 0.011, 0.013)
    assert result.metrics["python"] == 1 and result.metrics["numpy"] == 2
    assert result.metrics["torch"] == 3 and result.metrics["loss"] == 0.5**9
    assert result.metrics["criterion.good"] == 0 and result.metrics["criterion.good.x"] == 0.25
    assert result.headline == "MSE 0.01235 [0.011, 0.013]"
    assert result.params["p149"] == "149"
    assert run._tracking.client.get_metric_history(run.run_id, "loss")[1249].step == 1249


@pytest.mark.parametrize("value", [float("nan"), np.inf, torch.tensor(-torch.inf)])
def test_a_number_that_is_not_finite_stops_the_run(run, result, value):
    for log in (
        lambda: run.metrics({"x": value}),
        lambda: run.series({"x": [(3, value)]}),
        lambda: run.headline("x", value),
        lambda: run.criterion("good", True, x=value),
    ):
        with pytest.raises(NotFinite):
            log()
    assert "x" not in result.metrics and "headline" not in result.metrics


def test_tables_and_tensors(run, result):
    run.table("t", {"a": [1, 2], "b": torch.tensor([0.5, 0.25]), "c": ["x", "y"]})
    run.table("frame", pd.DataFrame({"a": [3]}))
    whole = torch.arange(12, dtype=torch.float64).reshape(3, 4)
    run.tensors("w", {"t": whole.T, "half": whole[:, :2], "n": np.eye(2, dtype=np.float32)}, {"n": 3, "name": "x"})
    assert result.table("t").to_dict("list") == {"a": [1, 2], "b": [0.5, 0.25], "c": ["x", "y"]}
    assert result.table("frame")["a"].tolist() == [3]
    back = result.tensors("w")
    assert torch.equal(back["t"], whole.T) and torch.equal(back["half"], whole[:, :2])
    assert back["n"].dtype == torch.float32 and result.meta("w") == {"n": 3, "name": "x"}


def test_texts_figures_and_files(run, result, tmp_path):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2])
    png = run.figure("smoke", figure, "What tests see.")
    assert result.names("figures") == ["smoke.png", "smoke.txt"]
    assert result.path("figures/smoke.png").read_bytes() == png
    run.profile = PROFILES["small"]
    run.figure("f", figure, "What one sees.")
    run.json("j", {"x": np.float64(1), "t": torch.tensor([1, 2])})
    run.text("t", "Matrices")
    run.html("h", "<p>")
    (tmp_path / "own.bin").write_bytes(b"123")
    run.file(tmp_path / "own.bin")
    run.dataset("problems", "abc", "training", "drawn anew")
    assert result.path("figures/f.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in result.path("figures/f.svg").read_text()
    assert result.path("figures/f.txt").read_text() == "What one sees.\n"
    assert result.json("j") == {"x": 1, "t": [1, 2]} and result.text("t") == "Matrices"
    assert result.path("own.bin").read_bytes() == b"123"
    inputs = run._tracking.run(run.run_id).inputs.dataset_inputs
    assert [(i.dataset.name, i.tags[0].value) for i in inputs] == [("problems", "training")]


def test_what_is_missing_or_cut_short_is_one_line(run, result):
    run.tensors("w", {"a": torch.ones(100)})
    path = result.path("w.safetensors")
    path.write_bytes(path.read_bytes()[:50])
    for read in (lambda: result.tensors("w"), lambda: result.table("none")):
        with pytest.raises(UserError, match="make it anew with `make P1-01 PROFILE=tiny ARGS=--fo"):
            read()


def test_work_is_resumed_only_where_what_decides_it_is_the_same(run, project):
    first = run.workdir("ired.science")
    assert first.is_dir() and run.workdir("ired.science") == first
    run.params.points = 9
    assert run.workdir("ired.science") != first
    run.params.points = 8
    project.edit("ired/constants.py", "4", "5")  # which ired.science imports
    run._keys = Keys(project.root, load(project.root))
    assert run.workdir("ired.science") != first
    with pytest.raises(KeyError, match="no module of this project is called ired.nothing"):
        run.workdir("ired.nothing")


def test_finished_work_is_begun_anew_where_the_run_is_forced(run):
    half, whole = run.workdir("ired.science", goes_on=True), run.workdir("ired.constants")
    for folder in (half, whole):
        (folder / "state").write_text("of a run before")
    run.mark_work_done()
    assert run.workdir("ired.constants") == whole and (whole / "state").exists()
    run.mark_work_done()
    run._force = True
    assert (run.workdir("ired.science", goes_on=True) / "state").exists(), "it was never finished"
    assert not (run.workdir("ired.constants") / "state").exists()


def test_an_upstream_result_must_be_a_declared_need(run):
    with pytest.raises(KeyError, match="P1-01 asks for SETUP-1"):
        run.upstream("SETUP-1")


def test_progress_is_one_plain_line_now_and_then(monkeypatch, capsys):
    now = iter([0, *range(10, 110, 10)])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with progress.Progress(10, "training") as bar:
        for _ in range(10):
            bar.update(loss=torch.tensor(0.5))
    captured = capsys.readouterr()
    assert captured.err == "" and captured.out.splitlines() == [
        f"training: {done} of 10, loss 0.5, {10 * done} s so far, about {100 - 10 * done} s left" for done in (3, 6, 9)
    ]


def test_every_profile_has_its_sections():
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert json.loads(json.dumps(profile.sections())) == profile.sections()
    assert set(PROFILES) == {"tiny", "small", "paper", "paper-std", "paper-gpu", "small-published", "tiny-published"}


def test_states_of_long_work_go_when_the_run_is_finished_and_resumable_work_stays(run):
    folder = run.workdir("ired.science")
    (folder / "training").write_text("half")
    state = run.checkpoint("state")
    state.save({"a": torch.ones(3)}, {"step": 4})
    assert run.checkpoint("state").load()[1] == {"step": 4}, "a killed run's is found again"
    run.mark_work_done()
    assert run.checkpoint("state").load() is None and (folder / "training").exists()
