"""pipeline.json is consistent, and a queue that is not is refused with a reason."""

import copy
import json
import re

import pytest

from ired.lab.errors import UserError
from ired.lab.queue import ROOT, RunCoordinates, load
from small_project import PIPELINE

QUEUE = load()
NUMBERS = [
    0,
    1,
    2,
    3,
    4,
    11,
    12,
    13,
    14,
    15,
    21,
    22,
    23,
    24,
    25,
    26,
    27,
    31,
    32,
    33,
    34,
    35,
    41,
    42,
    43,
    44,
    51,
    52,
    53,
    54,
    61,
    62,
    63,
    64,
    71,
    72,
    73,
    74,
    75,
]


def test_all_experiments_of_the_users_queue_are_there():
    assert [exp.number for exp in QUEUE.experiments] == NUMBERS
    sizes = [len(QUEUE.phase(number)) for number in range(8)]
    assert sizes == [5, 5, 7, 5, 4, 4, 4, 5]
    hours = [sum(exp.hours for exp in QUEUE.phase(number)) for number in range(1, 8)]
    assert hours == [7, 16, 9, 7, 6, 8, 10.5]
    assert len(QUEUE.milestones) == 3


def test_scripts_on_disk_are_those_of_the_queue():
    listed = {exp.script: exp for exp in QUEUE.experiments}
    for path in (ROOT / "scripts").glob("*.py"):
        exp = listed[f"scripts/{path.name}"]
        declared = re.search(r'@command\(\s*"([^"]+)"', path.read_text())
        assert declared and declared[1] == exp.id


def test_partition_follows_from_gpu_and_hours():
    assert QUEUE["P1-01"].partition == "gpu_test"
    assert QUEUE["P2-05"].partition == "gpu"
    assert QUEUE["P1-04"].partition == "cpu"


def test_the_synthesis_comes_after_everything():
    assert {exp.id for exp, _ in QUEUE.upstream(QUEUE["P7-05"], RunCoordinates())} == {
        exp.id for exp in QUEUE.experiments
    }


def test_needs_inherit_coordinates_or_name_their_own():
    at = RunCoordinates("tiny", 3, "random")
    assert (QUEUE["SETUP-3"], at) in QUEUE.needed(QUEUE["P1-01"], at)
    assert QUEUE.needed(QUEUE["SETUP-3"], at) == [(QUEUE["SETUP-2"], RunCoordinates("tiny"))]
    assert QUEUE.needed(QUEUE["SETUP-2"], at) == [(QUEUE["SETUP-1"], RunCoordinates())]
    seeds = [where for exp, where in QUEUE.needed(QUEUE["P7-02"], at) if exp.id == "SETUP-3"]
    assert seeds == [RunCoordinates("tiny", seed, "random") for seed in range(3)]
    for profile, count in (("small", 5), ("paper", 3), ("paper-std", 3), ("paper-gpu", 10)):
        needs = QUEUE.needed(QUEUE["P7-02"], RunCoordinates(profile))
        assert [where.seed for exp, where in needs if exp.id == "SETUP-3"] == list(range(count))


def test_variants_may_depend_on_the_profile():
    compared = {
        profile: {
            where.variant for exp, where in QUEUE.needed(QUEUE["P7-04"], RunCoordinates(profile)) if exp.id == "SETUP-3"
        }
        for profile in ("small", "paper", "paper-gpu")
    }
    assert compared["small"] == compared["paper-gpu"] == compared["paper"] | {"property"}


def test_energies_other_than_the_published_are_variants_too():
    assert QUEUE.variants[:4] == ("none", "random", "adversarial", "property")
    assert {"polynomial", "product", "product-random"} < set(QUEUE.variants)
    assert QUEUE.refusal(QUEUE["P1-03"], RunCoordinates(variant="product")) == ""
    for network in ("adversarial", "equilibrium"):
        assert QUEUE.refusal(QUEUE["P2-01"], RunCoordinates(variant=network)) == ""
    why = QUEUE.refusal(QUEUE["P2-01"], RunCoordinates(variant="product-random"))
    assert "P2-01 looks into the layers" in why and "'product-random' has none" in why


def test_names_and_targets_are_what_a_person_would_type():
    at = RunCoordinates("tiny", 3, "random")
    assert QUEUE["P1-03"].name(at) == "P1-03 tiny seed 3 random"
    assert QUEUE["P1-03"].name(RunCoordinates()) == "P1-03 small seed 0"
    assert QUEUE["SETUP-2"].name(at) == "SETUP-2 tiny"
    assert QUEUE["SETUP-2"].target(at) == "make SETUP-2 PROFILE=tiny"


def changed(place: int, **values) -> dict:
    pipeline = copy.deepcopy(PIPELINE)
    pipeline["experiments"][place].update(values)
    return pipeline


@pytest.mark.parametrize(
    "pipeline, reason",
    [
        (changed(1, id="SETUP-1"), "SETUP-1 is there twice"),
        (changed(1, script="scripts/train.py"), "not scripts/NN_name.py"),
        (changed(1, script="scripts/00_train.py"), "does not come after"),
        (changed(2, id="P2-01"), "disagree"),
        (changed(2, phase=2), "disagree"),
        (changed(1, needs=["P1-01"]), "SETUP-2 needs P1-01, which is not an experiment before it"),
        (changed(1, needs=["SETUP-2"]), "which is not an experiment before it"),
        (changed(1, needs=[{"id": "SETUP-1", "variants": ["odd"]}]), "unknown variants ['odd']"),
        (changed(1, needs=[{"id": "SETUP-1", "seeds": [-1]}]), "not whole numbers"),
        (changed(1, needs=[{"id": "SETUP-1", "seeds": {"tiny": [0]}}]), "seeds that have no default"),
        (changed(1, needs=[{"id": "SETUP-1", "sedes": [1]}]), "sedes"),
        (changed(1, varies=["colour"]), "colour"),
        (changed(1, hours=0), "above zero"),
        ({k: v for k, v in PIPELINE.items() if k != "phases"}, "phases"),
        (PIPELINE | {"measured": {"tiny": {"P9-01": {"minutes": 1, "memory_gib": 1}}}}, "['P9-01']"),
        (PIPELINE | {"measured": {"tiny": {"P1-01": {"minutes": 1, "memory_gib": 0}}}}, "memory_gib above 0"),
        (PIPELINE | {"measured": {"tiny": {"P1-01": {"minutes": 1}}}}, "memory_gib"),
        (PIPELINE | {"measured": {"tiny": [1]}}, "AttributeError"),
        (PIPELINE | {"milestones": [{"phases": [9], "meaning": "m"}]}, "does not exist"),
    ],
)
def test_an_inconsistent_queue_is_refused(tmp_path, pipeline, reason):
    (tmp_path / "pipeline.json").write_text(json.dumps(pipeline))
    with pytest.raises(UserError, match="^pipeline.json: ") as mistake:
        load(tmp_path)
    assert reason in str(mistake.value)


def test_a_broken_file_is_one_line(tmp_path):
    (tmp_path / "pipeline.json").write_text("{")
    with pytest.raises(UserError, match="pipeline.json"):
        load(tmp_path)
