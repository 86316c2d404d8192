"""README keeps its promises: its table is that of the queue, and what it names exists."""

import re
from pathlib import Path

from ired.lab import queue, readme_table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_of_experiments_is_current():
    assert readme_table.BEGIN in README and readme_table.END in README
    assert readme_table.filled(README) == README, "run `make readme`"
    assert all(f"| {exp.id} |" in README for exp in queue.load().experiments)


def test_the_table_follows_the_queue():
    stale = README.replace("P1-03", "P9-99")
    assert "P9-99" in stale and readme_table.filled(stale) != stale


def test_files_that_readme_names_exist():
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert linked
    assert [name for name in linked if not (ROOT / name).exists()] == []


def test_targets_that_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    ids = {exp.id for exp in queue.load().experiments}
    for target in set(re.findall(r"\bmake ([a-zA-Z0-9-]+)", README)):
        known = target in ids or re.fullmatch(r"phase[1-7]|all", target)
        assert known or re.search(rf"^{target}:", makefile, re.MULTILINE), target
