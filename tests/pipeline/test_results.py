"""The whole pipeline as a user runs it, at the tiny profile: what its runs leave in the store."""

import json

import pandas

import whole_queue
from tiny_store import client_of, run, runs, runs_of


def test_every_built_script_leaves_a_whole_run(finished):
    client, logged = client_of(finished), runs(finished)
    assert {r.data.tags["exp_id"] for r in logged} == {exp.id for exp in whole_queue.BUILT}
    assert {r.info.status for r in logged} == {"FINISHED"}
    for r in logged:
        exp_id = r.data.tags["exp_id"]
        declared = {t for t in r.data.tags if t.startswith("criterion.")}
        assert declared and declared <= set(r.data.metrics), exp_id
        if exp_id != "SETUP-1":
            assert r.inputs.dataset_inputs, f"{exp_id} names no data"
        pictures = [f.path for f in client.list_artifacts(r.info.run_id, "figures")]
        if exp_id != "SETUP-1" and exp_id != "SETUP-5":
            for suffix in ("png", "txt"):
                assert any(name.endswith(suffix) for name in pictures), f"{exp_id} {suffix}"


def test_every_known_answer_is_recovered(finished):
    """At n = 3 and on planted data; tests/instruments/calibration has the other sizes."""
    [calibration] = runs_of(finished, "SETUP-4")
    criteria = json.loads(calibration.data.tags["criteria"])
    assert len(criteria) > 40 and [c for c in criteria if calibration.data.metrics[f"criterion.{c}"] != 1] == []


def test_a_sweep_is_nested_and_compares(finished):
    """Every member is a run of its own under that of the sweep, with what tells it from the others."""
    [sweep] = runs_of(finished, "P2-05")
    members = [r for r in runs(finished, nested=True) if r.data.tags["part_of"] == "P2-05"]
    assert len(members) == 3 * 4 * 2
    assert {r.data.tags["mlflow.parentRunId"] for r in members} == {sweep.info.run_id}
    assert {r.info.status for r in members} == {"FINISHED"}
    for name, count in {"layer": 3, "architecture": 4, "sparsity": 2}.items():
        assert len({r.data.params[name] for r in members}) == count
    assert all({"l0", "gap", "score", "explained", "dead"} <= set(r.data.metrics) for r in members)


def test_ways_of_mining_compare(finished):
    """A run for each variant, a child for each seed, and what the UI groups by in all of them."""
    parents = runs(finished)
    members = runs(finished, nested=True)
    for exp_id, variant in (("P7-01", "none"), ("P7-02", "random"), ("P7-03", "adversarial")):
        parent = next(r for r in parents if r.data.tags["exp_id"] == exp_id)
        children = [r for r in members if r.data.tags["part_of"] == exp_id]
        assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
        assert sorted(r.data.params["seed"] for r in children) == ["0", "1", "2"]
        assert {r.data.params["mining"] for r in children} == {r.data.tags["variant"] for r in children} == {variant}
        for r in children:
            assert {"mse.test.steps_50", "mse.harder.steps_50", "sampled_mse"} <= set(r.data.metrics)


def test_the_synthesis_takes_account_of_every_criterion(finished):
    """All claims are judged, and each number in their sentences was logged by a run."""
    logged = {r.info.run_id: r for r in runs(finished)}
    last = next(r for r in logged.values() if r.data.tags["exp_id"] == "P7-05")
    assert last.data.metrics["criterion.everything_is_there"] == 1
    assert last.data.metrics["criterion.nothing_left_out"] == 1
    assert last.data.metrics["verdict.open"] == 0
    folder = finished / f"mlruns/artifacts/phase7/{last.info.run_id}/artifacts"
    claims, criteria = (pandas.read_parquet(folder / f"{name}.parquet") for name in ("claims", "criteria"))
    assert not claims["found"].str.contains("missing").any() and claims["found"].str.contains(r"\d").all()
    decided = [
        (r.data.tags["exp_id"], name)
        for r in logged.values()
        if r.data.tags["exp_id"] != "P7-05"
        for name in json.loads(r.data.tags["criteria"])
    ]
    assert sorted(zip(criteria["experiment"], criteria["criterion"], strict=True)) == sorted(decided)
    for row in criteria.itertuples():
        assert logged[row.run_id].data.metrics[f"criterion.{row.criterion}"] == row.met


def test_a_second_run_does_nothing(finished):
    before = len(runs(finished))
    for exp in whole_queue.BUILT:
        done = run(finished, exp.script)
        assert done.returncode == 0 and "up to date" in done.stdout, exp.id
    assert len(runs(finished)) == before
