"""A tracking server that is not there: runs wait in staging, and are delivered once each."""

import signal
import socket
from contextlib import closing
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from cluster.staged_project import delivered, lost, runs_of, serving, tracking_of, until_nobody_serves
from cluster.test_server import free_port
from ired.lab.content_keys import Keys
from ired.lab.errors import UserError
from ired.lab.queue import RunCoordinates, load
from ired.lab.tracking.mlflow_client import Tracking
from ired.lab.tracking.results import Shelf
from ired.lab.tracking.store import Store, Unreachable
from small_project import one_line

pytestmark = pytest.mark.usefixtures("quick_stores")


# Where the store is


def test_the_address_is_found(project, monkeypatch):
    assert Store(project.root).id == "local" and Store(project.root).database
    file = lost(project)
    store = Store(project.root)
    assert store.uri.startswith("http://127.0.0.1:") and store.id == "local" and store.database is None
    assert Store(project.root, f"sqlite:///{project.root}/mlruns/mlflow.db").database
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri + "/")
    assert Store(project.root).id == "local"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:1")
    assert Store(project.root).shown == "http://elsewhere:1" and Store(project.root).id != "local"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    file.write_text("half")
    assert Store(project.root).database


def test_a_copy_of_a_served_project_has_no_server(project, tmp_path):
    lost(project)
    assert Store(project.copy(tmp_path / "another").root).database


def test_a_server_that_ended_without_a_word(project):
    """Its store can be used again at once if it is that of this project, and must not if it is not."""
    lost(project, pid=2**22 + 1)
    assert Store(project.root).database
    lost(project, "of a database", pid=2**22 + 1)
    assert Store(project.root).database is None


def test_loopback_of_another_machine_is_not_asked(project):
    lost(project, host="node7")
    with pytest.raises(Unreachable, match="listens on node7 alone; .*HOST=0.0.0.0"):
        Store(project.root).check()


def test_a_password_is_neither_shown_nor_in_the_id():
    for uri in ("postgresql://me:p@ss@h/db", "postgresql://me@h/db?password=p@ss"):
        store = Store(uri=uri)
        assert "ss" not in store.shown.replace("postgresql", "") and store.uri.endswith(uri[12:])
    assert Store(uri="postgresql://a:b@h/db").id == Store(uri="postgres://h/db").id


# Staging from the start


def test_a_run_that_finds_no_server_is_kept_and_counts_as_finished(rich, inside):
    file = lost(rich)
    done = inside("11_look")
    one_line(done, "needs SETUP-2", "does not wait in staging", "cannot be reached")
    assert not list((rich.root / "mlruns" / "staging").glob("*/ended"))
    rich.edit("ired/constants.py", "4", "5")  # all is new
    assert inside("00_prepare").stdout.startswith("SETUP-1 is up to date")
    for script in ("00_prepare", "01_train", "11_look"):
        words = ["--force"] if script == "00_prepare" else []
        done = inside(script, *words)
        assert done.returncode == 0, done.stderr
        assert "cannot be reached" in done.stdout and "`make sync` delivers it" in done.stdout
    assert "up to date" in (again := inside("11_look").stdout) and "in staging" in again
    plan = rich.make("-n", "P1-01", "PROFILE=tiny").stdout
    assert "is up to date: seen 5" in plan and "scripts/" not in plan
    with pytest.raises(UserError, match="cannot be reached"):
        delivered(rich)
    file.unlink()  # from now on the store is at hand: that the server served is this one
    lines = delivered(rich)
    assert [line.split(":")[0] for line in lines] == ["SETUP-1", "SETUP-2 tiny seed 0", "P1-01 tiny seed 0"]
    assert delivered(rich) == ["Nothing waits in staging."]
    assert not list((rich.root / "mlruns" / "staging").iterdir())
    assert rich.runs("P1-01") == ["FINISHED"] * 2
    done = inside("11_look")
    assert "up to date" in done.stdout and "staging" not in done.stdout
    tracking = tracking_of(rich)
    look, train = (tracking.search(f"tags.exp_id = '{exp}'")[0] for exp in ("P1-01", "SETUP-2"))
    assert look.data.tags["upstream.SETUP-2.s0.none"] == train.info.run_id
    staged = runs_of(rich)
    assert inside("11_look", "--force").returncode == 0
    assert runs_of(rich) == staged and len(staged) == 4
    assert len(staged[0]["metrics"]["loss"]) == 1201 and staged[3]["metrics"]["curve"] == [(0, 1), (5, 0.5)]
    assert staged[0]["data"] == [("problems", "d1", "test")]
    assert set(staged[0]["files"]) == {"half.json", "more.txt"}


def test_a_result_in_staging_serves_a_run_on_the_store(rich, inside):
    """And that run's tag names the delivered run afterwards, even where delivery came in between."""
    rich.edit("ired/constants.py", "4", "6")
    file = lost(rich)
    assert inside("01_train", "--force").returncode == 2  # SETUP-1 is on the server
    assert inside("00_prepare", "--force").returncode == 0 and inside("01_train").returncode == 0
    file.unlink()
    keys, store = Keys(rich.root, load(rich.root)), Store(rich.root)
    shelf = Shelf(Tracking(store, keys.queue.phases), keys)
    waiting = shelf.find(keys.queue["SETUP-2"], RunCoordinates("tiny"))
    done = inside("11_look")
    assert done.returncode == 0 and "seen 6" in done.stdout and "staging" not in done.stdout
    delivered(rich)
    assert waiting.json("answer")["value"] == 6  # found again where it was delivered
    tracking = tracking_of(rich)
    look, train = (tracking.search(f"tags.exp_id = '{exp}'")[0] for exp in ("P1-01", "SETUP-2"))
    assert look.data.tags["upstream.SETUP-2.s0.none"] == train.info.run_id
    assert train.data.tags["staged_from"] == waiting.run_id


def test_a_run_that_fails_in_staging_is_delivered_as_failed(project, inside):
    file = lost(project)
    assert inside("00_prepare", "--force").returncode == 0
    done = inside("01_train", "--behave", "raise")
    assert done.returncode == 1 and "as asked" in done.stderr and "make sync" in done.stdout
    file.unlink()
    assert "(failed)" in "".join(delivered(project)) and project.runs("SETUP-2")[-1] == "FAILED"
    assert "up to date" not in inside("01_train", "--behave", "raise").stdout


def test_an_address_that_somebody_typed_wrong_is_a_mistake_but_not_in_a_job(project, inside, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    one_line(inside("00_prepare"), "cannot be reached")
    monkeypatch.setenv("IRED_PATIENCE", "0")
    store = Store(project.root)
    assert not store.stages
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert Store(project.root).stages


def test_staging_of_a_database_waits_for_its_server(project, inside):
    file = lost(project, "of a database")
    assert inside("00_prepare").returncode == 0
    file.unlink()
    (line,) = delivered(project)
    assert "waits for http://127.0.0.1" in line
    assert project.runs("SETUP-1") == ["FINISHED"] and list((project.root / "mlruns" / "staging").iterdir())


@pytest.mark.parametrize("text", ["abc", "nan", "-1"])
def test_a_patience_that_is_no_number_is_one_line(text, project, inside, monkeypatch):
    lost(project)
    monkeypatch.setenv("IRED_PATIENCE", text)
    one_line(inside("00_prepare", "--force"), f"IRED_PATIENCE '{text}'")
    assert not list((project.root / "mlruns").glob("staging/*"))


# A real server


def test_a_server_comes_and_goes(rich, inside, monkeypatch):
    """It serves the embedded store; the same store serves as before when it is gone."""
    before = runs_of(rich, "SETUP-2")
    with closing(Store(rich.root).hold()):  # as a run that is under way holds it
        done = rich.make("server", f"PORT={free_port()}")
        assert "is in use" in done.stderr and done.returncode == 2
    with serving(rich) as server:
        file = rich.root / "mlruns" / "server"
        assert file.stat().st_mode & 0o777 == 0o644
        store = Store(rich.root)
        assert f":{store.uri.rpartition(':')[2]}" in store.server.address and store.id == "local"
        done = rich.make("server", f"PORT={free_port()}")
        assert "runs already at " + store.uri in done.stderr and done.returncode == 2
        direct = f"sqlite:///{rich.root}/mlruns/mlflow.db"
        one_line(rich.run_forked("11_look", MLFLOW_TRACKING_URI=direct), "is being served")
        assert runs_of(rich, "SETUP-2") == before  # through the server
        assert inside("11_look").returncode == 0
        served = runs_of(rich)
        assert rich.sql("SELECT count(*) FROM runs WHERE artifact_uri LIKE 'mlflow-artifacts:/phase%'") == rich.sql(
            "SELECT count(*) FROM runs"
        )
        assert "make ui" not in inside("11_look").stdout
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0 and not file.exists()
    assert runs_of(rich) == served and "up to date" in inside("11_look").stdout
    assert all(str(rich.root) in place for (place,) in rich.sql("SELECT artifact_uri FROM runs"))


def test_a_server_that_stops_and_starts_in_the_middle_of_a_run(rich, inside):
    """First for a moment, in which nothing is logged, to be there for other machines as well; then it is killed.
    Nothing is lost, nothing is there twice, and all is as if nothing had happened."""
    first, second = (rich.root / f"wait-{name}" for name in ("first", "second"))
    port = free_port()
    with serving(rich, port):
        first.touch()
        second.touch()
        run = rich.start("11_look", MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
        said = run.stdout.readline() + run.stdout.readline()
        assert "at the first place" in said, said + run.stderr.read()
    with serving(rich, port, host="0.0.0.0") as server:
        first.unlink()
        assert run.stdout.readline() == "at the second place\n"
        assert Store(rich.root).uri == f"http://{socket.gethostname()}:{port}"
        assert "warning: whoever can reach" in (rich.root / "server.log").read_text()
        path = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=9"
        assert b"Phase 1" in urlopen(Request(path, headers={"Host": f"{socket.gethostname()}:{port}"})).read()
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(path, headers={"Host": "a.page.that.lies"}))
        server.kill()
        server.wait()
        until_nobody_serves(rich, f"http://127.0.0.1:{port}")
    assert (rich.root / "mlruns" / "server").exists() and Store(rich.root).database  # what a killed one leaves
    second.unlink()
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert "no longer answers" in out and "make sync" in out and err == ""
    assert rich.runs("P1-01")[-1] == "RUNNING" and "up to date" in inside("11_look").stdout
    done = rich.make("sync")
    assert done.returncode == 0 and "P1-01 tiny seed 0: delivered" in done.stdout, done.stderr
    assert rich.runs("P1-01")[-1] == "FINISHED"
    run_id = said.rpartition("(run ")[2][:32]
    assert run_id in done.stdout  # the very run that had begun
    broken = runs_of(rich)
    assert rich.sql(
        "SELECT count(*) FROM runs r JOIN tags t USING (run_uuid) WHERE t.key = 'mlflow.parentRunId' AND t.value = ?",
        run_id,
    ) == [(3,)]
    assert inside("11_look", "--force").returncode == 0
    assert runs_of(rich) == broken and len(broken) == 4
    assert len(broken[0]["metrics"]["loss"]) == 1201
