"""Every script at the published size, 20 × 20 and 512 hidden units, with samples as small as they may be.

What depends on the dimension breaks here first. Not among the tests of `make test`, for its time: .ci/run has it
beside them, and `make test ARGS="-m published_size"`.
"""

import shutil

import pytest
from mlflow import MlflowClient

import whole_queue

pytestmark = [pytest.mark.published_size, pytest.mark.slow]
PROFILE = "tiny-published"
MOST = 2.5  # GiB; a process that has imported everything has half of one


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = whole_queue.copied(tmp_path_factory.mktemp("published") / "size", "checkpoints")
    # Forty steps teach nothing, and nothing is taken apart that has learned nothing.
    for kept in (folder / "checkpoints").glob("paper-std-none-seed0.*"):
        shutil.copy(kept, kept.with_stem(f"{PROFILE}-none-seed0"))
    whole_queue.run(folder, PROFILE, tmp_path_factory.mktemp("streams"), limit=1200)
    return folder


def test_every_script_runs_in_little_memory(project):
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    everywhere = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(everywhere, "tags.exp_id LIKE '%'", max_results=1000)
    assert {run.data.tags["exp_id"] for run in runs} == {exp.id for exp in whole_queue.QUEUE.experiments}
    assert {run.info.status for run in runs} == {"FINISHED"}
    peaks = {run.info.run_name: run.data.metrics["peak_memory_gib"] for run in runs}
    assert {name: peak for name, peak in peaks.items() if peak > MOST} == {}
    calibrated = next(run for run in runs if run.data.tags["exp_id"] == "SETUP-4")
    assert calibrated.data.metrics["headline"] == 1, "known answers are recovered"
