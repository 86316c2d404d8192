"""Keys change with what decides a result, and with nothing else."""

import os
from dataclasses import replace

import pytest

from ired.lab import content_keys as keys_module
from ired.lab.content_keys import Keys, NotBuilt
from ired.lab.queue import RunCoordinates, load

AT = RunCoordinates("tiny")


def key(project, exp_id: str, at: RunCoordinates = AT, **changed) -> str:
    keys = Keys(project.root, load(project.root))
    return keys.key(keys.queue[exp_id], at, changed)


def all_keys(project) -> dict[str, str]:
    return {exp_id: key(project, exp_id) for exp_id in ("SETUP-1", "SETUP-2", "P1-01", "P1-02")}


def differing(before: dict, after: dict) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_dates_comments_elsewhere_and_the_notebook_change_nothing(fresh):
    before = all_keys(fresh)
    for path in fresh.root.rglob("*.py"):
        os.utime(path, (1, 1))
    fresh.edit("ired/lab/targets/status.py", "import", "import ")
    (fresh.root / "ired" / "unused.py").write_text("x = 1\n")
    assert all_keys(fresh) == before


@pytest.mark.parametrize(
    "name, old, new, hit",
    [
        ("scripts/11_look.py", "how many", "how very many", {"P1-01"}),
        ("scripts/01_train.py", "as asked", "as told", {"SETUP-2", "P1-01", "P1-02"}),
        ("ired/science.py", "What", "That", {"SETUP-2", "P1-01", "P1-02"}),
        ("ired/constants.py", "4", "5", {"SETUP-2", "P1-01", "P1-02"}),
        ("scripts/00_prepare.py", "Prepares", "Makes ready", {"SETUP-1", "SETUP-2", "P1-01", "P1-02"}),
    ],
)
def test_an_edit_reaches_what_uses_it(fresh, name, old, new, hit):
    before = all_keys(fresh)
    fresh.edit(name, old, new)
    assert differing(before, all_keys(fresh)) == hit
    fresh.edit(name, new, old)
    assert all_keys(fresh) == before


def test_a_template_beside_a_module_counts(fresh):
    before = all_keys(fresh)
    (fresh.root / "ired" / "page.html").write_text("of nobody")
    (fresh.root / "ired" / "science.txt").write_text("no template")
    assert all_keys(fresh) == before
    template = fresh.root / "ired" / "science.html"
    template.write_text("one")
    one = all_keys(fresh)
    template.write_text("two")
    assert differing(before, one) == differing(one, all_keys(fresh)) == {"SETUP-2", "P1-01", "P1-02"}


def test_coordinates_and_parameters_count_where_they_matter(fresh):
    assert key(fresh, "SETUP-1", RunCoordinates("small", 5, "random")) == key(fresh, "SETUP-1")
    keys = {
        key(fresh, "SETUP-2", at)
        for at in (AT, RunCoordinates("small"), RunCoordinates("tiny", 1), RunCoordinates("tiny", 0, "random"))
    }
    keys |= {key(fresh, "SETUP-2", behave="sleep"), key(fresh, "SETUP-2", behave="nan")}
    assert len(keys) == 6
    assert key(fresh, "P1-01", RunCoordinates("tiny", 1)) != key(fresh, "P1-01")


def test_values_of_the_profile_count(fresh, monkeypatch):
    before = all_keys(fresh)
    tiny = keys_module.PROFILES["tiny"]
    monkeypatch.setitem(keys_module.PROFILES, "tiny", replace(tiny, training=replace(tiny.training, steps=12345)))
    assert differing(before, all_keys(fresh)) == {"SETUP-2", "P1-01", "P1-02"}


def test_a_gate_must_be_there_but_does_not_decide(fresh):
    fresh.edit("pipeline.json", '"needs": ["SETUP-1"]', '"needs": [{"id": "SETUP-1", "gate": true}]')
    before = all_keys(fresh)
    fresh.edit("scripts/00_prepare.py", "Prepares", "Makes ready")
    assert differing(before, all_keys(fresh)) == {"SETUP-1"}
    queue = load(fresh.root)
    assert queue["SETUP-1"] in [exp for exp, _ in queue.upstream(queue["P1-01"], AT)]


def test_every_way_to_import_is_seen(fresh):
    (fresh.root / "ired" / "deep").mkdir()
    for name in ("__init__", "a", "b", "c", "d", "e"):
        (fresh.root / "ired" / "deep" / f"{name}.py").write_text("\n")
    (fresh.root / "ired" / "deep" / "a.py").write_text("from . import b\nfrom .c import x\n")
    (fresh.root / "ired" / "science.py").write_text(
        '"""from ired.deep import nothing, really"""\n'
        "import os, ired.deep.a as a\n"
        "def f():\n    from ired.deep import (  # why\n        d,\n        e as other,\n    )\n"
    )
    keys = Keys(fresh.root, load(fresh.root))
    found = set(keys.sources(fresh.root / "ired" / "science.py"))
    assert found == {"ired/__init__.py", "ired/science.py"} | {
        f"ired/deep/{name}.py" for name in ("__init__", "a", "b", "c", "d", "e")
    }


def test_what_is_not_built_is_named(fresh):
    with pytest.raises(NotBuilt, match="P2-01 is not built yet: scripts/21_missing.py"):
        key(fresh, "P2-01")
