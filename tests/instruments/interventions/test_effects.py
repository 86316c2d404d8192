"""Effects beyond chance, necessity and specificity: planted ones are found with their size, and chance is not."""

import numpy as np
import pandas
import pytest

from ired.instruments.interventions import effects


def responses(own, draws, carried=None, doses=(-2.0, 2.0)):
    """Rows as P3-04 logs them, of moved (D, P) and (D, R, P)."""
    rows = []
    for control, data in (("own", own[:, None]), ("random", draws), ("covariance", draws)):
        for (d, r, p), value in np.ndenumerate(data):
            slope = 0.0 if carried is None or control != "own" else carried[d]
            shared = {
                "direction": f"v{d}",
                "control": control,
                "draw": r,
                "problem": p,
                "moved": value,
                "mse": value,
                "residual": value,
            }
            rows += [
                shared | {"edit": "add", "dose": dose, "carried": slope * dose + 0.01 * p * dose} for dose in doses
            ]
            rows.append(shared | {"edit": "ablate", "dose": 0.0, "carried": 0.0})
            if control == "own":
                rows.append(shared | {"edit": "add", "dose": 0.0, "carried": 2.0 * (p % 2)})
    return pandas.DataFrame(rows)


def test_effects_are_differences_to_the_draws():
    rng = np.random.default_rng(2)
    draws = rng.uniform(1, 1.1, (3, 4, 20))
    own = draws.mean(1) + np.array([[0.5], [0.0], [-0.5]]) + 0.01 * rng.standard_normal((3, 20))
    found = effects.effects(responses(own, draws), ["v0", "v1", "v2"], "moved")
    np.testing.assert_allclose(found["difference"], (own - draws.mean(1)).mean(1))
    np.testing.assert_allclose(found["difference"], [0.5, 0, -0.5], atol=0.02)
    assert found["beyond"].tolist() == [True, False, False]
    assert found["rank"].tolist()[::2] == [1, 5]
    assert (found["low"] <= found["difference"]).all() and (found["difference"] <= found["high"]).all()
    np.testing.assert_allclose(found["covariance_difference"], found["difference"])
    error = effects.effects(responses(own, draws), ["v0"], "mse")
    assert error["difference"][0] == pytest.approx(found["difference"][0])


def test_slopes_are_signed():
    own, draws = np.ones((2, 20)), np.ones((2, 4, 20))
    table = responses(own, draws, carried=np.array([0.3, -0.3]))
    found = effects.effects(table, ["v0", "v1"], "carried")
    spread = np.std([0, 2] * 10, ddof=1)
    np.testing.assert_allclose(found["difference"], [0.3 / spread, -0.3 / spread])
    assert found["rank"].tolist() == [1, 1]  # in size
    assert len(effects.effects(table, [], "carried")) == 0


def test_a_random_direction_is_rarely_beyond_random():
    """Directions that differ among themselves beat the mean of the others half of the time: that is why
    each single draw has to be beaten, too."""
    rng = np.random.default_rng(3)
    sizes = rng.normal(1, 0.2, (40, 10))
    all_ = sizes[..., None] + 0.05 * rng.standard_normal((40, 10, 30))
    found = effects.contrast(all_[:, 0], all_[:, 1:])
    assert ((found["p_adjusted"] < 0.05) & (found["difference"] > 0)).mean() > 0.35
    assert found["beyond"].mean() < 0.25
    assert found["placebo"].mean() == pytest.approx(1 / 9, abs=0.01)
    assert np.isnan(effects.placebo(all_[:, :2])).all()


def test_following_is_the_share_of_the_slope_that_is_lost():
    rng = np.random.default_rng(4)
    truth = rng.standard_normal(40)
    base = 0.8 * truth + 3
    ablated = np.stack([0.2 * truth, 0.8 * truth, 0.72 * truth])
    row = effects.following(truth, base, ablated + 0.01 * rng.standard_normal((3, 40)))
    assert row["lost"] == pytest.approx(0.75, abs=0.01)
    assert row["lost_random"] == pytest.approx(0.05, abs=0.01)
    assert row["lost_excess"] == pytest.approx(0.7, abs=0.01) and row["follows_less"]
    assert not effects.following(truth, base, ablated[[1, 0, 2]])["follows_less"]
    nothing = effects.following(np.zeros(40), base, ablated)
    assert np.isnan(nothing["lost"]) and not nothing["follows_less"]


def test_specificity_compares_with_the_largest_other_property():
    rng = np.random.default_rng(5)
    noise = 0.01 * rng.standard_normal((4, 3, 30))
    sizes = {"large_norm": 1.0, "near_singular": -0.4, "noisy_answer": 0.1, "correct_answer": -0.1}
    changes = {name: size + noise[i] for i, (name, size) in enumerate(sizes.items())}
    row = effects.specificity(changes, "large_norm")
    assert row["specific"] == pytest.approx(0.6, abs=0.02) and row["specific_low"] > 0.5
    assert row["rival"] == "near_singular"
    assert row["own_share"] == pytest.approx(1 / 1.5, abs=0.02)
    assert effects.specificity(changes, "near_singular")["specific_high"] < 0
    error = effects.specificity(changes, "correct_answer")  # not its own rival
    assert error["rival"] == "large_norm"
