"""README, CONTRIBUTING and the page of experiments keep their promises: what they name exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ired.lab import queue
from ired.lab.targets import experiments_page

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_the_page_of_experiments_is_current():
    page = (ROOT / experiments_page.PAGE).read_text()
    assert page == experiments_page.markdown(), "run `make docs`"
    assert all(f"| {exp.id} |" in page for exp in queue.load().experiments)
    assert f"]({experiments_page.PAGE.as_posix()})" in README


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_files_that_are_named_exist(text):
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    assert linked
    assert [name for name in linked if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_targets_that_are_named_exist(text):
    makefile = (ROOT / "Makefile").read_text()
    ids = {exp.id for exp in queue.load().experiments}
    for target in set(re.findall(r"\bmake ([a-zA-Z0-9-]+)", text)):
        known = target in ids or re.fullmatch(r"phase[1-7]|all", target)
        assert known or re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.slow
def test_the_quick_half_waits_for_nothing():
    """What needs the tiny store or a Slurm is marked before pytest chooses by marks."""
    words = ["-n", "0", "-p", "no:cacheprovider", "--collect-only", "-m", "not slow", "tests/pipeline", "tests/cluster"]
    said = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True)
    files = set(re.findall(r"^tests/\w+/(\w+)\.py", said.stdout, re.MULTILINE))
    assert files == {"test_help", "test_site", "test_submission"}, said.stdout + said.stderr
