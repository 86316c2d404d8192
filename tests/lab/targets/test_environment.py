"""The environment: made once, whatever interrupts it; and what doctor says about it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from ired.lab.errors import UserError
from ired.lab.queue import ROOT
from ired.lab.targets import environment
from ired.lab.targets.environment import UNFINISHED, lock


@pytest.fixture
def bare(fresh):
    """A project without an environment, and without anything to download."""
    shutil.rmtree(fresh.root / ".venv")
    (fresh.root / "requirements.txt").write_text("# nothing\n")
    return fresh


@pytest.mark.slow
def test_setup_survives_being_killed_and_being_called_twice(bare):
    words = ["make", f"PYTHON={sys.executable}", "setup"]
    first = subprocess.Popen(
        words, cwd=bare.root, env=bare.env, start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    while not (bare.root / ".venv" / ".ired-unfinished").exists():
        assert first.poll() is None
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    (bare.root / ".venv" / "half-made").touch()

    both = [
        subprocess.Popen(
            words, cwd=bare.root, env=bare.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Installing" in text for text in said) == 1
    assert {".ired-unfinished", "half-made"}.isdisjoint(os.listdir(bare.root / ".venv"))
    assert "Nothing to be done" in bare.make("setup").stdout

    # Scripts run by hand find the project, and still do after it has moved.
    python = bare.root / ".venv" / "bin" / "python"
    moved = bare.root.parent / "moved"
    bare.root.rename(moved)
    env = {k: v for k, v in bare.env.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [moved / ".venv" / "bin" / "python", "scripts/11_look.py", "--help"],
        cwd=moved,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Looks at" in done.stdout, done.stderr
    assert not python.exists()


@pytest.mark.slow
def test_an_installation_that_fails_says_why_and_leaves_no_mark(bare):
    (bare.root / "requirements.txt").write_text("ired-no-such-package==1.0\n")
    venv = bare.root / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").write_text('#!/bin/sh\necho "no matching distribution"; exit 1\n')
    (venv / "python").chmod(0o755)
    done = bare.make("setup")
    assert done.returncode == 2
    assert "no matching distribution" in done.stderr and "error: `-m pip install" in done.stderr
    assert not list((bare.root / ".venv").glob(".ired-*"))
    assert (venv / "python").exists()  # somebody's own environment is never removed


def test_a_folder_that_is_no_environment_is_left_as_it_is(bare):
    precious = bare.root / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("all of it")
    (bare.root / "notes").write_text("some of it")
    for name in ("precious", "precious", "notes"):
        done = bare.make("setup", f"VENV={name}")
        assert done.returncode == 2 and "Installing" not in done.stdout
        assert f"error: {name} is there already and is no environment" in done.stderr.splitlines()[0]
    assert os.listdir(precious) == ["thesis.txt"]
    assert (bare.root / "notes").read_text() == "some of it"


@pytest.fixture
def quietly(bare, monkeypatch):
    """What would be run, in place of running it."""
    asked = []

    def record(words):
        asked.append(words)
        return str(bare.root)  # where packages lie, for the one that asks

    monkeypatch.setattr(environment, "_quietly", record)
    return asked


def test_an_environment_without_its_python_is_never_removed(bare, monkeypatch):
    old, new = bare.root / "old", bare.root / "new"
    for folder in (old, new):
        folder.mkdir()
    (old / "pyvenv.cfg").touch()

    def fail(words):
        raise UserError("no network")

    monkeypatch.setattr(environment, "_quietly", fail)
    for folder in (old, new, old, new):
        with pytest.raises(UserError, match="no network"):
            environment.make(folder, folder / ".ired-1", "", bare.root)
    assert os.listdir(old) == ["pyvenv.cfg"]
    assert os.listdir(new) == [UNFINISHED]


def test_an_environment_is_ready_for_the_last_requirements_alone(bare, quietly):
    folder = bare.root / ".venv"
    (folder / "bin").mkdir(parents=True)
    for name in ("bin/python", ".peers-1"):
        (folder / name).touch()
    for mark in (".ired-1", ".ired-2", ".ired-2", ".ired-1"):
        environment.make(folder, folder / mark, "", bare.root)
        assert sorted(os.listdir(folder)) == [mark, ".peers-1", "bin"]
    assert sum("pip" in words for words in quietly) == 3


def test_the_lock_covers_the_requirements_and_names_no_build():
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    locked = dict(
        line.lower().split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line
    )
    assert len(pins) > 8
    assert {name: locked[name] for name, _ in pins} == dict(pins)
    assert not any("+" in version for version in locked.values())


def test_the_package_names_what_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert sorted(name for group in groups for name in group if name != "ired[test]") == sorted(pins)


def test_the_lock_is_written_from_what_is_installed(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "torch==2.13.0+cu130\\nnumpy==2.3.5\\n-e here\\n"\n')
    python.chmod(0o755)
    lock(python, tmp_path)
    lines = (tmp_path / "requirements.lock").read_text().splitlines()
    assert lines[1:] == ["torch==2.13.0", "numpy==2.3.5"]


@pytest.mark.slow
def test_doctor_is_content_with_a_sound_project(project):
    done = project.make("doctor")
    assert done.returncode == 0, done.stdout
    assert not re.search("^fail", done.stdout, re.MULTILINE)
    for words in (
        "python 3",
        "GB free",
        "pins of requirements.txt are met",
        "3 runs",
        "5 experiments, 4 of them built",
    ):
        assert words in done.stdout


def test_doctor_tells_what_to_do(project):
    (project.root / "requirements.txt").write_text("pytest==0.0.1\n")
    done = project.make("doctor", MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert done.returncode == 2
    told = dict(reversed(line.split(maxsplit=1)) for line in done.stdout.splitlines())
    failed = [sentence for sentence, state in told.items() if state == "fail"]
    assert len(failed) == 2
    assert f"package pytest: {pytest.__version__}, and 0.0.1 is pinned" in failed[0]
    assert "make setup" in failed[0]
    assert "http://127.0.0.1:1 cannot be reached" in failed[1]
    assert "unset MLFLOW_TRACKING_URI" in failed[1]


def test_doctor_works_without_an_environment(bare):
    done = bare.make("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ".venv is not there yet: make setup" in done.stdout
