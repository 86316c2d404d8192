"""Causes that were planted are found with their size, and chance is not."""

import numpy as np
import pandas
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction
from ired.instruments.core.sampler import denoised
from ired.instruments.interventions import counterfactuals, known_answers_causality, mediation
from ired.instruments.interventions.known_answers_causality import Planted, first_entry, planted_twins
from ired.instruments.interventions.mediation import Bench, Path, Place, Twins
from ired.instruments.statistics import intervals
from ired.model import problems as model_problems
from ired.model.sampling import SamplingConfig, sample


def walk(energy, A, start, first=None, callback=None):
    return sample(energy, A, SamplingConfig(), start=start, first=first, callback=callback)


def responses(own, draws, carried=None, doses=(-2.0, 2.0)):
    """Rows as P3-04 logs them, of moved (D, P) and (D, R, P)."""
    rows = []
    for control, data in (("own", own[:, None]), ("random", draws), ("covariance", draws)):
        for (d, r, p), value in np.ndenumerate(data):
            slope = 0.0 if carried is None or control != "own" else carried[d]
            shared = {"direction": f"v{d}", "control": control, "draw": r, "problem": p, "moved": value,
                      "mse": value, "residual": value}  # fmt: skip
            rows += [shared | {"edit": "add", "dose": dose, "carried": slope * dose + 0.01 * p * dose}
                     for dose in doses]  # fmt: skip
            rows.append(shared | {"edit": "ablate", "dose": 0.0, "carried": 0.0})
            if control == "own":
                rows.append(shared | {"edit": "add", "dose": 0.0, "carried": 2.0 * (p % 2)})
    return pandas.DataFrame(rows)


def test_effects_are_differences_to_the_draws():
    rng = np.random.default_rng(2)
    draws = rng.uniform(1, 1.1, (3, 4, 20))
    own = draws.mean(1) + np.array([[0.5], [0.0], [-0.5]]) + 0.01 * rng.standard_normal((3, 20))
    found = mediation.effects(responses(own, draws), ["v0", "v1", "v2"], "moved")
    np.testing.assert_allclose(found["difference"], (own - draws.mean(1)).mean(1))
    np.testing.assert_allclose(found["difference"], [0.5, 0, -0.5], atol=0.02)
    assert found["beyond"].tolist() == [True, False, False]
    assert found["rank"].tolist()[::2] == [1, 5]
    assert (found["low"] <= found["difference"]).all() and (found["difference"] <= found["high"]).all()
    np.testing.assert_allclose(found["covariance_difference"], found["difference"])
    error = mediation.effects(responses(own, draws), ["v0"], "mse")
    assert error["difference"][0] == pytest.approx(found["difference"][0])


def test_slopes_are_signed():
    own, draws = np.ones((2, 20)), np.ones((2, 4, 20))
    table = responses(own, draws, carried=np.array([0.3, -0.3]))
    found = mediation.effects(table, ["v0", "v1"], "carried")
    spread = np.std([0, 2] * 10, ddof=1)
    np.testing.assert_allclose(found["difference"], [0.3 / spread, -0.3 / spread])
    assert found["rank"].tolist() == [1, 1]  # in size
    assert len(mediation.effects(table, [], "carried")) == 0


def test_a_random_direction_is_rarely_beyond_random():
    """Directions that differ among themselves beat the mean of the others half of the time: that is why
    each single draw has to be beaten, too."""
    rng = np.random.default_rng(3)
    sizes = rng.normal(1, 0.2, (40, 10))
    all_ = sizes[..., None] + 0.05 * rng.standard_normal((40, 10, 30))
    found = mediation.contrast(all_[:, 0], all_[:, 1:])
    assert ((found["p_adjusted"] < 0.05) & (found["difference"] > 0)).mean() > 0.35
    assert found["beyond"].mean() < 0.25
    assert found["placebo"].mean() == pytest.approx(1 / 9, abs=0.01)
    assert np.isnan(mediation.placebo(all_[:, :2])).all()


# Interventions


@pytest.fixture
def path(network, problems, generator):
    start = states.noise(network, 6, generator=generator, like=problems)
    return Path.of(network, walk, problems, start)


def test_a_path_can_be_entered_anywhere(network, path):
    for k in (9, 4, 0):
        answers = walk(network, path.A, path.states[k], first=k)
        torch.testing.assert_close(answers, path.answers, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("place", [Place("fc2", 3), Place("fc1", EVERYWHERE), Place(STATE, 3)])
def test_edits_of_nothing_change_nothing(network, path, place, generator):
    width = path.y0.shape[1] if place.space == STATE else 32
    V = torch.randn(2, width, generator=generator, dtype=torch.float64)
    V = torch.nn.functional.normalize(V, dim=1)
    same = Twins.problems(path, path, place.first(10))
    for answers in (
        mediation.added(network, walk, path, place, V, 0.0),
        mediation.swapped(network, walk, same, place, V, back=False),
    ):
        assert answers.shape == (2, *path.answers.shape)
        torch.testing.assert_close(answers, path.answers.expand(2, -1, -1), atol=1e-6, rtol=1e-6)
    moved = mediation.added(network, walk, path, place, V, 0.5) - path.answers
    assert moved.norm(dim=-1).min() > 1e-6


def test_a_whole_layer_of_the_twin_is_the_twin(network, problems, path, generator):
    """A meets the network in fc1 alone: with all of a layer from the twin, in all landscapes, the answer
    is the twin's; in one landscape of many, it is not."""
    other = Path.of(network, walk, problems.flip(0), path.states[-1])
    for layer in ("fc1", "fc3"):
        twins = Twins.problems(path, other, 9)
        whole = mediation.swapped(network, walk, twins, Place(layer, EVERYWHERE), None, back=False)
        torch.testing.assert_close(whole[0], other.answers, atol=1e-6, rtol=1e-6)
        back = mediation.swapped(network, walk, twins, Place(layer, EVERYWHERE), None, back=True)
        torch.testing.assert_close(back[0], path.answers, atol=1e-6, rtol=1e-6)
    twins = Twins.problems(path, other, 4)
    late = mediation.swapped(network, walk, twins, Place("fc1", 4), None, back=False)[0]
    assert (late - path.answers).norm() > 1e-4 and (late - other.answers).norm() > 1e-4
    state = mediation.swapped(network, walk, twins, Place(STATE, 4), None, back=False)[0]
    torch.testing.assert_close(state, walk(network, path.A, other.states[4], first=4))


def test_a_direction_and_what_is_orthogonal_to_it_make_up_the_difference(network, path, problems):
    other = Path.of(network, walk, problems.flip(0), path.states[-1])
    twins, place = Twins.problems(path, other, 4), Place(STATE, 4)
    starts = []
    mediation.swapped(
        network, lambda e, A, y, first: starts.append(y) or y, twins, place,
        torch.eye(16, dtype=torch.float64), back=False,
    )  # fmt: skip
    steps = starts[0].unflatten(0, (16, 6)) - path.states[4]
    torch.testing.assert_close(steps.sum(0), other.states[4] - path.states[4])


def test_states_that_differ_are_swapped_in_their_landscape_only(network, path, generator):
    less, more = counterfactuals.states(network, path.y0, 4, "noisy_answer", generator)
    twins = Twins.states(path, less, more, 4)
    ends = []

    def look(energy, A, start, first):
        ends.append([energy.gradient(A, start, k) for k in (4, 3)])
        return start

    mediation.swapped(network, look, twins, Place("fc1", EVERYWHERE), None, back=False)
    torch.testing.assert_close(ends[0][0], network.gradient(path.A, more, 4))
    torch.testing.assert_close(ends[0][1], network.gradient(path.A, less, 3))


def test_ablation_hides_the_problem_from_what_hangs_on_the_coordinate(ideal, generator):
    energy = Planted(ideal, through=1.0, direct=0.0)
    base, _ = planted_twins(energy, 8, generator)
    V = torch.stack([energy.axis(0, base.A), energy.axis(1, base.A)])
    gone = mediation.ablated(energy, denoised, base, Place("fc1", EVERYWHERE), V)[..., 0]
    mean = base.A[:, 0, 0].mean().tanh().expand(8)
    torch.testing.assert_close(gone[0], mean)
    torch.testing.assert_close(gone[1], base.answers[:, 0])


# What they say of one direction


def test_a_planted_mediator_has_its_share(references):
    checks = known_answers_causality.check_causality(references, torch.Generator().manual_seed(0))
    checks += known_answers_causality.check_counterfactuals(references, torch.Generator().manual_seed(0))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"causality", "counterfactuals"}


@pytest.mark.parametrize(
    "module, name, spoil, room",
    [
        (mediation, "swapped", lambda y: 1.1 * y, "causality"),
        (intervals, "sign_flip", lambda p: p / 2, "causality"),
        (counterfactuals, "_with", lambda A: A + 0.01 * torch.eye(4), "counterfactuals"),
    ],
)
def test_a_broken_instrument_is_named(references, monkeypatch, module, name, spoil, room):
    own = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: spoil(own(*a, **k)))
    checks = known_answers_causality.check_causality(references, torch.Generator().manual_seed(0))
    checks += known_answers_causality.check_counterfactuals(references, torch.Generator().manual_seed(0))
    assert {check.instrument for check in checks if not check.passed} == {room}


def test_without_a_total_effect_there_is_no_share(ideal, generator):
    energy = Planted(ideal, through=0.0, direct=0.0)
    base, changed = planted_twins(energy, 8, generator)
    V = torch.stack([energy.axis(i, base.A) for i in range(4)])
    found = mediation.mediation(
        energy, denoised, first_entry, Twins.problems(base, changed, 9), Place("fc1", EVERYWHERE), V
    )
    row = mediation.mediated(found, slice(1, 2), slice(2, 4))
    assert not found.present and not row["mediates"]
    assert np.isnan([row["mediated"], row["mediates_p"]]).all()
    assert row["total"] == pytest.approx(0, abs=1e-12)


def test_following_is_the_share_of_the_slope_that_is_lost():
    rng = np.random.default_rng(4)
    truth = rng.standard_normal(40)
    base = 0.8 * truth + 3
    ablated = np.stack([0.2 * truth, 0.8 * truth, 0.72 * truth])
    row = mediation.following(truth, base, ablated + 0.01 * rng.standard_normal((3, 40)))
    assert row["lost"] == pytest.approx(0.75, abs=0.01)
    assert row["lost_random"] == pytest.approx(0.05, abs=0.01)
    assert row["lost_excess"] == pytest.approx(0.7, abs=0.01) and row["follows_less"]
    assert not mediation.following(truth, base, ablated[[1, 0, 2]])["follows_less"]
    nothing = mediation.following(np.zeros(40), base, ablated)
    assert np.isnan(nothing["lost"]) and not nothing["follows_less"]


def test_specificity_compares_with_the_largest_other_property():
    rng = np.random.default_rng(5)
    noise = 0.01 * rng.standard_normal((4, 3, 30))
    sizes = {"large_norm": 1.0, "near_singular": -0.4, "noisy_answer": 0.1, "correct_answer": -0.1}
    changes = {name: size + noise[i] for i, (name, size) in enumerate(sizes.items())}
    row = mediation.specificity(changes, "large_norm")
    assert row["specific"] == pytest.approx(0.6, abs=0.02) and row["specific_low"] > 0.5
    assert row["rival"] == "near_singular"
    assert row["own_share"] == pytest.approx(1 / 1.5, abs=0.02)
    assert mediation.specificity(changes, "near_singular")["specific_high"] < 0
    error = mediation.specificity(changes, "correct_answer")  # not its own rival
    assert error["rival"] == "large_norm"


@pytest.mark.parametrize("space, width", [("fc2", 32), (STATE, 16)])
def test_examination_gives_a_whole_row_in_a_network(network, generator, space, width):
    pool = model_problems.draw(40, 4, 0.5, generator, torch.float64)
    made = {"large_norm": counterfactuals.pairs(pool, "large_norm", 10)}
    bench = Bench.of(network, walk, pool[:16], made, 2, generator)
    for concept in ("large_norm", "noisy_answer"):
        v = torch.randn(width, generator=generator)
        direction = Direction("v", "concept", space, 2, concept, 0.9, "AUROC", v)
        row = mediation.examine(bench, direction, 0.3, generator)
        assert row["direction"] == "v" and np.isfinite([row["specific"], row["total"]]).all()
        assert np.isnan(row["lost"]) or concept == "large_norm"
    with pytest.raises(KeyError, match="near_singular"):
        bench.twins("near_singular", 2, generator)


# Verdicts


@pytest.mark.parametrize(
    "concept, beyond, carries, backwards, specific, expected",
    [
        ("large_norm", True, True, False, True, mediation.SPECIFIC),
        ("large_norm", False, True, False, False, mediation.CAUSAL),
        ("large_norm", True, False, True, True, mediation.BACKWARDS),
        ("large_norm", True, False, False, True, mediation.OTHERWISE),
        ("large_norm", False, False, False, True, mediation.NOTHING),
        ("", True, False, False, False, mediation.CAUSAL),
        ("", False, False, False, False, mediation.NOTHING),
    ],
)
def test_each_verdict_has_its_case(concept, beyond, carries, backwards, specific, expected):
    assert mediation.verdict(concept, beyond, carries, backwards, specific) == expected


def test_the_table_joins_what_is_known_of_each_direction():
    directions = pandas.DataFrame({
        "name": ["a", "b", "c"], "source": ["concept", "concept", "gradient"], "space": "fc2",
        "landscape": 1, "concept": ["large_norm", "noisy_answer", ""], "evidence": 0.9, "measure": "AUROC",
    })  # fmt: skip

    def part(names, beyond, difference, p):
        return pandas.DataFrame({"direction": names, "beyond": beyond, "difference": difference,
                                 "p_adjusted": p, "rank": 1, "placebo": 0.1})  # fmt: skip

    moved = part(["a", "b", "c"], [True, True, False], 1.0, 0.01)
    error = part(["a", "b", "c"], [True, True, False], 1.0, 0.01)
    carried = part(["a", "b"], [True, False], [1.0, -1.0], 0.01)
    examined = pandas.DataFrame({
        "direction": ["a", "b"], "specific_low": [0.1, 0.1], "follows_less": [False, False],
        "lost": [0.1, np.nan], "lost_p": [0.2, np.nan], "mediates": [True, False],
        "mediates_p": [0.01, np.nan], "mediated": [0.4, np.nan], "mediated_low": [0.3, np.nan],
    })  # fmt: skip
    table = mediation.verdicts(directions, moved, carried, error, examined)
    assert table["verdict"].tolist() == [mediation.SPECIFIC, mediation.BACKWARDS, mediation.NOTHING]
    assert table["necessary"].tolist() == [False, True, False]
    assert table["mediates"].tolist() == [True, False, False] and not table["sufficient"].any()
    unsure = examined.assign(mediates_p=[0.2, np.nan], mediated_low=[0.6, np.nan])
    unsure = mediation.verdicts(directions, moved, carried, error, unsure)
    assert not unsure["mediates"].any() and not unsure["sufficient"].any()
    nobody = mediation.verdicts(directions[2:], moved, carried[:0], error, examined[:0])
    assert nobody["verdict"].tolist() == [mediation.NOTHING]
