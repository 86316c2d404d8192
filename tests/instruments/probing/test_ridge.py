"""Probes: equal to scikit-learn's, blind to what is not there, and never fitted to what they read."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ired.instruments.accuracy.predictors import power_features
from ired.instruments.core import states
from ired.instruments.probing import description_length, logistic, ridge, scores as probe_scores
from ired.instruments.probing.scores import Scores
from ired.instruments.statistics.intervals import Interval
from ired.model import problems as model_problems
from ired.model.reference import PredictorEnergy


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def planted(generator):
    """Features of very different sizes, one constant; a linear, a half linear and a random value."""
    x = 5 + normal(generator, 120, 12) * torch.logspace(-2, 2, 12, dtype=torch.float64)
    x[:, 7] = 3.7
    z = (x - x.mean(0)) / x.std(0).clamp_min(1e-9)
    linear, other = z @ normal(generator, 12), normal(generator, 120)
    return x, torch.stack([linear, linear + 4 * other, other], 1)


def r2(x, values, fold, alphas=ridge.ALPHAS):
    seen = ridge.ridge_probe(x, values, fold, alphas)
    away = values - seen.mean
    return (1 - (values - seen.predicted).pow(2).sum(0) / away.pow(2).sum(0)).numpy()


def test_nested_ridge_is_scikit_learns(planted):
    x, values = planted
    fold = ridge.grouped_folds(np.arange(len(x)), 4, np.random.default_rng(0))
    seen = ridge.ridge_probe(x, values, fold)
    X, Y = x.numpy(), values.numpy()

    def fitted(train, alpha, t):
        return make_pipeline(StandardScaler(), Ridge(alpha)).fit(X[train], Y[train, t])

    for i in range(4):
        outer = fold != i
        for t in range(3):
            errors = []
            for alpha in ridge.ALPHAS:
                errors.append(0)
                for j in set(range(4)) - {i}:
                    test = fold == j
                    guess = fitted(outer & ~test, alpha, t).predict(X[test])
                    errors[-1] += ((Y[test, t] - guess) ** 2).sum()
            assert seen.alpha[i, t] == ridge.ALPHAS[int(np.argmin(errors))]
            guess = fitted(outer, seen.alpha[i, t].item(), t).predict(X[~outer])
            np.testing.assert_allclose(seen.predicted[~outer, t], guess, rtol=0, atol=1e-8)
            np.testing.assert_allclose(seen.mean[~outer, t], Y[outer, t].mean(), atol=1e-12)


def test_a_planted_linear_property_is_read_and_its_control_is_not(planted, generator):
    x, values = planted
    rng = np.random.default_rng(0)
    asked = ridge.probe_targets(
        {"linear": values[:, 0], "several": values[:, :2]},
        dict.fromkeys(("linear", "several"), x),
        generator,
    )
    scores = Scores(5)
    seen = ridge.ridge_probe(x, asked.values, ridge.grouped_folds(np.arange(len(x)), 5, rng))
    scores.add("trained", "fc1", 0, seen, asked)
    table = scores.table().set_index(["landscape", "property", "task"])
    assert table.loc[(0, "linear", "property"), "r2"] == pytest.approx(1, abs=1e-6)
    assert abs(table.loc[(0, "linear", "permuted"), "r2"]) < 0.1
    assert table.loc[(0, "linear", "permuted"), "low"] < 0
    assert table.loc[(0, "linear", "function"), "r2"] < 0.9
    # On average over the one landscape there is: the same.
    assert table.loc[-1].equals(table.loc[0])


def test_errors_are_the_same_from_few_rows_and_from_many(planted):
    x, values = planted
    sums = ridge.Sums.of(x, values, np.arange(len(x)) % 3)
    fit, rows = sums.fit({0}), sums.rows[0]
    whole = fit.misses(rows, ridge.ALPHAS)
    some = [ridge.Rows(*(part[i : i + 10] for part in (rows.places, rows.x, rows.values))) for i in range(0, 40, 10)]
    assert len(rows.x) == 40 > x.shape[1] > 10
    expected = sum(fit.misses(few, ridge.ALPHAS) for few in some)
    torch.testing.assert_close(whole, expected, rtol=1e-9, atol=1e-9)


def test_alphas_let_a_probe_decline(planted):
    x, values = planted
    fold = ridge.grouped_folds(np.arange(len(x)), 5, np.random.default_rng(1))
    assert abs(r2(x[:, :6], values[:, 2:], fold)) < 0.1


def test_the_trace_is_linear_in_the_entries_of_A(problems, generator):
    A = model_problems.draw(200, 4, 0.5, generator, torch.float64)
    values = torch.stack([A.diagonal(dim1=1, dim2=2).sum(1), torch.linalg.det(A)], 1)
    fold = ridge.grouped_folds(np.arange(200), 4, np.random.default_rng(0))
    linear, bent = r2(power_features(A, 1), values, fold)
    assert linear == pytest.approx(1, abs=1e-8)
    assert bent < 0.9
    squares = A.pow(2).sum((1, 2))[:, None]
    assert r2(power_features(A, 1), squares, fold) < 0.99
    assert r2(power_features(A, 2), squares, fold) == pytest.approx(1, abs=1e-6)


def test_states_of_a_problem_leak_unless_they_stay_together(generator):
    problem = np.repeat(np.arange(30), 4)
    own = normal(generator, 30, 40)
    x = own[problem] + 0.1 * normal(generator, 120, 40)
    labels = normal(generator, 30)[problem][:, None]  # belong to nothing
    rng = np.random.default_rng(0)
    together, torn = (ridge.grouped_folds(g, 5, rng) for g in (problem, np.arange(120)))
    assert all(len(set(together[problem == p])) == 1 for p in range(30))
    assert r2(x, labels, torn) > 0.8
    assert r2(x, labels, together) < 0.05
    yes = labels[:, 0].numpy() > 0
    leaking = logistic.logistic_probe(x.numpy(), yes, torn).auroc()
    sound = logistic.logistic_probe(x.numpy(), yes, together).auroc()
    assert leaking.low > 0.9 and sound.estimate < 0.75


def test_permuting_keeps_problems_together(generator):
    problem = np.array([1, 0, 1, 0, 2, 2])
    values = torch.arange(6.0, dtype=torch.float64)[:, None]
    groups = {frozenset(values[problem == p, 0].tolist()) for p in range(3)}
    for _ in range(5):
        moved = ridge.permuted_problems(values, generator, problem)
        assert {frozenset(moved[problem == p, 0].tolist()) for p in range(3)} == groups
    with pytest.raises(ValueError, match="different numbers"):
        ridge.permuted_problems(values, generator, [0, 0, 1, 1, 1, 2])


def test_random_functions_have_the_propertys_values(generator):
    x, values = normal(generator, 400, 6), normal(generator, 400, 2).exp()
    found = ridge.random_function(x, values, generator)
    assert torch.equal(found.sort(0).values, values.sort(0).values)
    fold = ridge.grouped_folds(np.arange(400), 4, np.random.default_rng(0))
    ranks = found.argsort(0).argsort(0).double()
    assert 0.2 < r2(x, ranks, fold).mean() < 0.8


def test_beyond_others_is_what_they_do_not_explain(generator):
    others, own = normal(generator, 50, 2), normal(generator, 50)
    left = ridge.beyond((others @ normal(generator, 2) + own)[:, None], others)
    assert torch.allclose(left.mT @ others, torch.zeros(1, 2, dtype=left.dtype), atol=1e-10)
    assert torch.allclose(left, ridge.beyond(own[:, None], others), atol=1e-10)


def test_impossible_folds_are_refused(planted):
    x, values = planted
    with pytest.raises(ValueError, match="2 problems"):
        ridge.grouped_folds([3, 3, 4], 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="three folds"):
        ridge.ridge_probe(x, values, np.arange(120) % 2)
    with pytest.raises(ValueError, match="three folds"):
        logistic.logistic_probe(x.numpy(), values[:, 0] > 0, np.arange(120) % 2)
    with pytest.raises(ValueError, match="all the same"):
        logistic.logistic_probe(x.numpy(), np.zeros(120), np.arange(120) % 3)


def test_representations_are_the_networks_own(network, generator):
    A = model_problems.draw(5, 4, 0.5, generator, torch.float64)
    y = network.coordinates.noise(5, generator=generator, dtype=torch.float64)
    found = ridge.representations({"trained": network}, A, y, 3, chunk=2)
    own = network.activations(A, y, 3)
    for layer, name in zip(ridge.LAYERS, own, strict=True):
        assert torch.allclose(found["trained", layer], own[name], atol=1e-12)
    energy = found["trained", "f"].pow(2).sum(1)
    assert torch.allclose(energy, network.energy(A, y, 3))
    widths = [found["input", name].shape[1] for name in ridge.INPUTS]
    assert widths == [10, 20, 10 + network.coordinates.size, 20 + network.coordinates.size]


def test_an_affine_energy_holds_what_its_inputs_give(network, generator):
    """It has no layers, and its score, whatever the curvature, is read in full from [A, y] and from no other input."""
    A = model_problems.draw(80, 4, 0.5, generator, torch.float64)
    y = network.coordinates.noise(80, generator=generator, dtype=torch.float64)
    energy = PredictorEnergy.of(network.coordinates, network.schedule, lambda A: 2 - 3 * A, A)
    held = ridge.representations({"affine": energy}, A, y, 3)
    assert {source for source, _ in held} == {"input"}
    score = network.coordinates.to_basis(energy.gradient(A, y, 3))
    fold = ridge.grouped_folds(np.arange(80), 4, np.random.default_rng(0))
    assert r2(held["input", "A, y"], score, fold).min() > 1 - 1e-6
    assert r2(held["input", "A"], score, fold).min() < 0.99


def test_layers_that_see_problems_alone_have_the_state_beside_them(network, generator):
    A = model_problems.draw(5, 4, 0.5, generator, torch.float64)
    y = network.coordinates.noise(5, generator=generator, dtype=torch.float64)
    plain = {"plain": lambda A: {"fc3": power_features(A, 1)}}
    held = ridge.representations({"trained": network}, A, y, 3, plain, layers=("fc3",))
    assert list(held)[len(ridge.INPUTS) :] == [("trained", "fc3"), ("plain", "fc3")]
    assert torch.equal(held["plain", "fc3"], held["input", "A, y"])


def test_one_task_of_several(generator):
    x = normal(generator, 9, 3)
    asked = ridge.probe_targets({"one": x[:, 0], "many": x[:, 1:]}, {"one": x, "many": x}, generator)
    of_task = asked.of_task("property")
    assert of_task.cells == {("one", "property"): slice(0, 1), ("many", "property"): slice(1, 3)}
    assert torch.equal(of_task.values, x)
    function = asked.of_task("function")
    assert torch.equal(
        function.values[:, function.cells["many", "function"]], asked.values[:, asked.cells["many", "function"]]
    )


def test_distance_is_in_noise_radii(network, generator):
    A = model_problems.draw(3, 4, 0.5, generator, torch.float64)
    y0 = states.answers(network, A)
    y = states.around(network, y0, 2, 1.5, 1, generator)[:, 0]
    assert ridge.distance(network, y0, y, 2).tolist() == pytest.approx([1.5] * 3)


# Labels


def test_auroc_is_scikit_learns_within_a_fold_and_knows_ties():
    rng = np.random.default_rng(0)
    label, score = rng.random(60) < 0.4, rng.integers(0, 9, 60).astype(float)
    one = logistic.auroc_within_folds(label, score, np.zeros(60, dtype=int))
    assert one.estimate == pytest.approx(roc_auc_score(label, score))
    # An offset between folds puts no pair out of order.
    fold = np.arange(60) % 2
    moved = logistic.auroc_within_folds(label, score + 100 * fold, fold)
    assert moved.estimate == pytest.approx(logistic.auroc_within_folds(label, score, fold).estimate)


def test_random_labels_are_read_at_chance_and_intervals_cover():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(12):
        x, label = rng.standard_normal((80, 15)), rng.random(80) < 0.5
        seen = logistic.logistic_probe(x, label, np.arange(80) % 4, (1e-4, 1e-1))
        covered.append(not seen.auroc().excludes(0.5))
    assert sum(covered) >= 11
    assert seen.bits.mean() == pytest.approx(1, abs=0.2)


def test_a_planted_label_is_read(generator):
    x = normal(generator, 300, 5).numpy()
    label = x[:, 0] - x[:, 3] > 0
    seen = logistic.logistic_probe(x, label, np.arange(300) % 5)
    assert seen.auroc().low > 0.97
    assert seen.bits.mean() < 0.5 < 0.99 < seen.bits_of_base.mean()
    assert set(seen.strength) <= set(logistic.STRENGTHS)


# Description length


def test_random_labels_cost_the_uniform_code():
    lengths = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x, label = rng.standard_normal((128, 20)), rng.random(128) < 0.5
        code = description_length.of_labels(x, label, rng.permutation(128), rng)
        assert code.uniform.sum() == 128
        lengths.append(code.length[0])
    assert np.mean(lengths) == pytest.approx(128, rel=0.05)
    easy = description_length.of_labels(x, x[:, 0] > 0, rng.permutation(128), rng)
    assert easy.length[0] < 0.8 * 128
    assert easy.compression[0] > 1.25


def test_random_values_cost_the_code_that_knows_nothing(generator):
    rng = np.random.default_rng(4)
    x = normal(generator, 256, 8)
    values = torch.stack([normal(generator, 256), x[:, 0], x[:, 0] + normal(generator, 256)], 1)
    code = description_length.of_values(x, values, rng.permutation(256), rng)
    known = 0.5 * np.log2(2 * np.pi * np.e) - np.log2(description_length.PRECISION)
    assert code.uniform.mean(0) == pytest.approx([known] * 3)
    chance, whole, half = (code.saved(slice(t, t + 1)) for t in range(3))
    assert abs(chance.estimate) < 0.2
    assert code.curve(slice(1, 2))[1][-1] == pytest.approx(-np.log2(0.01), abs=1)
    assert code.curve(slice(2, 3))[1][-1] == pytest.approx(0.4, abs=0.3)
    assert whole.low > half.high > half.low > 0
    assert code.ends == (16, 32, 64, 128, 256)


def test_code_does_not_depend_on_units(generator):
    x, values = normal(generator, 64, 4), normal(generator, 64, 1)
    values = values + x[:, :1]
    lengths = [
        description_length.of_values(a, b, np.arange(64), np.random.default_rng(0)).length
        for a, b in ((x, values), (1e3 * x + 7, 20 * values - 3))
    ]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
    with pytest.raises(ValueError, match="too few"):
        description_length.ends_of(7)


def test_labels_of_one_class_are_learned_without_probes():
    x, rng = np.zeros((64, 2)), np.random.default_rng(0)
    code = description_length.of_labels(x, np.ones(64), np.arange(64), rng)
    assert code.length[0] < 8 + 8 and code.bits[-1, 0] == pytest.approx(-np.log2(33 / 34))


# Comparisons


def table_of(rng, gains):
    """Scores with planted R² of 0.5, and what (source, layer) gains."""
    cells = ("p", "property"), ("p", "function"), ("q", "property"), ("q", "function")
    scores = Scores(5, cells)
    pairs = [("input", name) for name in ridge.INPUTS]
    pairs += [(s, layer) for s in ("trained", "untrained", "regression") for layer in ridge.LAYERS]
    noise = 0.05 * rng.standard_normal((60, 1))
    for source, layer in pairs:
        for k in range(2):
            own = np.full(4, 0.5)
            own[0] += gains.get((source, layer), 0)
            scores.shares[source, layer, k] = own + noise + 0.01 * rng.standard_normal((60, 4))
    return scores


def test_what_rises_must_beat_every_control():
    rng = np.random.default_rng(0)
    found = probe_scores.rises(table_of(rng, {("trained", "fc3"): 0.2}), ["p", "q"])
    assert found["beyond"].tolist() == [True, False]
    assert found["selective"].tolist() == [True, False]
    assert found["given"][0] == pytest.approx(0.2, abs=0.01)
    assert found["given_low"][0] < 0.2 < found["given_high"][0] + 0.01
    for rival in (("trained", "fc1"), ("untrained", "fc3"), ("input", "A, y"), ("input", "A, A², y")):
        scores = table_of(rng, {("trained", "fc3"): 0.2, rival: 0.2})
        assert not probe_scores.rises(scores, ["p", "q"])["beyond"].any()
    # A regression network stands beside: it has criteria of its own.
    beside = probe_scores.rises(table_of(rng, {("trained", "fc3"): 0.2, probe_scores.BESIDE: 0.3}), ["p", "q"])
    assert beside["beyond"].tolist() == [True, False] and beside["regression_high"][0] < 0


def test_ahead_names_layer_and_landscape():
    scores = table_of(np.random.default_rng(0), {("trained", "fc2"): 0.1})
    found = probe_scores.ahead(scores, ridge.LAYERS, "p").set_index(["layer", "landscape"])
    assert (found.loc["fc2", "given_low"] > 0).all() and found.loc["fc2", "given"].mean() > 0.08
    assert not (found.loc[["fc1", "fc3", "f"], "given_low"] > 0).any()
    fc1, fc2 = (scores.mean("trained", layer, ["p", "q"]) for layer in ("fc1", "fc2"))
    gain, _ = scores.ahead(fc2, fc1)
    assert gain.low < 0.05 < gain.high


def test_comparisons_are_student_tests_with_a_larger_error():
    first, second = np.random.default_rng(0).random((2, 20))
    seen, p = Scores(5).ahead(first, second)
    assert logistic.widening(5) == 1.5
    gain = first - second
    known = ttest_1samp(gain.mean() + 1.5 * (gain - gain.mean()), 0, alternative="greater")
    assert p == pytest.approx(known.pvalue)
    reach = 1.5 * 2.093 * gain.std(ddof=1) / 20**0.5
    assert seen.high - seen.estimate == pytest.approx(reach, rel=1e-3)
    assert Scores(5).ahead(first, first) == (Interval(0, 0, 0, 0.95, 20, "t"), 1.0)


def test_shares_add_up_to_r2_with_its_error(generator):
    """The error of a ratio: of a permuted property it is tiny, however uneven the squares are."""
    x, values = normal(generator, 200, 5), normal(generator, 200, 2)
    asked = ridge.Targets(values, {("p", "property"): slice(0, 2)})
    seen = ridge.ridge_probe(x, values, np.arange(200) % 5)
    shares = seen.shares(asked)[:, 0].numpy()
    missed, away = ((values - v).pow(2).sum(1).numpy() for v in (seen.predicted, seen.mean))
    assert shares.mean() == pytest.approx(1 - missed.sum() / away.sum())
    pick = np.random.default_rng(0).integers(0, 200, (2000, 200))
    resampled = 1 - missed[pick].sum(1) / away[pick].sum(1)
    assert shares.std() / 200**0.5 == pytest.approx(resampled.std(), rel=0.1)
