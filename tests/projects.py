"""Small projects to try the notebook in, without touching the real one."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ired
from ired.lab.targets.make_rules import load_command
from small_project import Project, build

Inside = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A project in which nothing was run yet."""
    return build(tmp_path / "fresh project")


@pytest.fixture(scope="session")
def mother(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which P1-01 and what it needs were run at tiny. Its path has a space in it."""
    project = build(tmp_path_factory.mktemp("lab") / "the mother")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IRED_THREADS", "1")
        for script in ("00_prepare", "01_train", "11_look"):
            assert run_inside(project, patch, script) == 0
    return project


@pytest.fixture
def project(mother: Project, tmp_path: Path) -> Project:
    """A copy of that project, to do with it what one likes."""
    return mother.copy(tmp_path / "a copy")


@pytest.fixture
def inside(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> Iterator[Inside]:
    """Run a script in this process, where mlflow is imported once for all tests. The project is
    `project`, unless another one is given."""

    def run(script: str, *words: str, project: Project | None = None):
        project = project or request.getfixturevalue("project")
        capfd.readouterr()
        status = run_inside(project, monkeypatch, script, *words)
        return subprocess.CompletedProcess([script, *words], status, *capfd.readouterr())

    yield run


def run_inside(project: Project, patch: pytest.MonkeyPatch, script: str, *words: str) -> int:
    """The exit status of a script that is run in this process at the tiny profile."""
    for module in ("command", "machine", "provenance"):
        patch.setattr(f"ired.lab.{module}.ROOT", project.root)
    patch.setattr(ired, "__path__", [*ired.__path__[:1], str(project.root / "ired")])
    for module in ("ired.science", "ired.constants"):  # those of the project before
        sys.modules.pop(module, None)
    stops = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in stops}
    try:
        load_command(project.root / "scripts" / f"{script}.py")(["--profile", "tiny", *words])
    except SystemExit as end:
        return end.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0
