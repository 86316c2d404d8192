"""Small projects to try the notebook in, without touching the real one."""

import signal
import subprocess
from pathlib import Path

import pytest
from ired.lab.rules import load_command
from small_project import Project, build


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A project in which nothing was run yet."""
    return build(tmp_path / "fresh project")


@pytest.fixture(scope="session")
def mother(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which `make P1-01 PROFILE=tiny` was run. Its path has a space in it."""
    project = build(tmp_path_factory.mktemp("lab") / "the mother")
    done = project.make("P1-01", "PROFILE=tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    project.first_output = done.stdout
    return project


@pytest.fixture
def project(mother: Project, tmp_path: Path) -> Project:
    """A copy of that project, to do with it what one likes."""
    return mother.copy(tmp_path / "a copy")


@pytest.fixture
def inside(project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    """Run a script of `project` in this process, where mlflow is imported once for all tests."""
    monkeypatch.setattr("ired.lab.command.ROOT", project.root)
    handlers = {number: signal.getsignal(number)
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def run(script: str, *words: str) -> subprocess.CompletedProcess:
        command = load_command(project.root / "scripts" / f"{script}.py")
        capfd.readouterr()
        status = 0
        try:
            command(["--profile", "tiny", *words])
        except SystemExit as end:
            status = end.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return subprocess.CompletedProcess([script, *words], status, *capfd.readouterr())
    return run
