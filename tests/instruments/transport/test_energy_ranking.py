"""Energies ranked against distances: candidates, gaps, and correlations that are known."""

import numpy as np
import pytest
import torch
from scipy import stats

from ired.instruments.core.states import symmetric
from ired.instruments.geometry import metrics
from ired.instruments.transport import energy_ranking as ranking


@pytest.fixture
def made(problems, generator):
    return ranking.candidates(symmetric(torch.linalg.inv(problems)), 9, generator)


def of(made, kind):
    return made.C[:, made.kind == ranking.KINDS.index(kind)]


def test_candidates_are_what_they_are_called(made):
    assert made.C.shape == (6, 36, 4, 4)
    Y, size = made.Y[:, None], made.Y.flatten(-2).norm(dim=-1)[:, None]
    torch.testing.assert_close(made.C, made.C.mT, rtol=0, atol=1e-12)
    away = (of(made, "noised") - Y).flatten(-2).norm(dim=-1) / size
    assert (away >= 0.02 - 1e-9).all() and (away <= 0.5 + 1e-9).all() and away.max() / away.min() > 5
    true = torch.linalg.eigvalsh(made.Y)[:, None].expand(6, 9, 4)
    torch.testing.assert_close(torch.linalg.eigvalsh(of(made, "turned")), true)
    for kind in ranking.KINDS[1:]:
        assert made.definite[:, made.kind == ranking.KINDS.index(kind)].all(), kind
    noised = made.definite[:, made.kind == 0]
    assert 0 < noised.mean() < 1
    known = torch.linalg.eigvalsh(of(made, "noised"))[..., 0] > 0
    np.testing.assert_array_equal(noised, known)
    # Blended ones lie between the answer and another problem's.
    other = of(made, "blended")[:, 0] - made.Y
    toward = made.Y.roll(1, 0) - made.Y
    cosine = (other * toward).sum((1, 2)) / other.flatten(1).norm(dim=1) / toward.flatten(1).norm(dim=1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_distances_are_those_of_the_metrics(made):
    away = ranking.candidate_distances(made)
    assert tuple(away) == ranking.DISTANCES
    p, m = np.argwhere(made.definite)[5]
    Y, C = made.Y[p], made.C[p, m]
    values = [np.linalg.eigvalsh(M) for M in (Y, C)]
    assert away["spectra"][p, m] == pytest.approx(np.sqrt(np.mean((values[0] - values[1]) ** 2)))
    assert away["L2"][p, m] == pytest.approx(np.linalg.norm(C - Y))
    assert away["spectral norm"][p, m] == pytest.approx(np.linalg.norm(C - Y, 2))
    for name in ("Bures-Wasserstein", "affine-invariant"):
        assert away[name][p, m] == pytest.approx(metrics.METRICS[name].distance(Y, C).item())
    assert all((np.isnan(values) == ~made.definite).all() for values in away.values())
    assert (away["spectra"][:, made.kind == 3] == 0).all()


@pytest.mark.parametrize("k", [0, 5])
def test_the_ideal_energy_is_ranked_by_l2_exactly(ideal, problems, made, generator, k):
    away = ranking.candidate_distances(made)
    for place, gap in ranking.candidate_gaps(ideal, problems, made, k, 2, generator, states_per_call=80).items():
        rows = ranking.correlate_gaps(gap, away, made).set_index(["kind", "distance"])
        assert rows.loc[("all", "L2"), "rho"].to_numpy() == pytest.approx(1), place
        assert (rows["partial"].abs() < 1e-9).all(), place
        assert (rows.loc[("turned", "spectra"), "rho"] == 0).all()
        assert (rows.loc[("all", "spectra"), "rho"] < 0.999).all()


def test_an_energys_offset_and_its_noise_cancel(algebraic, problems, made, generator):
    one = ranking.candidate_gaps(algebraic, problems, made, 2, 1, generator)
    np.testing.assert_allclose(one["noised"], one["clean"], rtol=1e-6, atol=1e-8)  # it is quadratic
    residual = (problems[:, None] @ made.C - torch.eye(4)).flatten(-2).pow(2).sum(-1)
    rows = ranking.correlate_gaps(one["clean"], {name: residual.numpy() for name in ranking.DISTANCES}, made)
    assert rows["rho"].to_numpy() == pytest.approx(1)


def test_a_networks_gaps_come_from_its_own_states(network, problems, made, generator):
    state = generator.get_state()
    seen = ranking.candidate_gaps(network, problems, made, 3, 2, generator)
    root = network.schedule.sqrt_alpha_bar[3].item()
    states = [root * network.coordinates.encode(M) for M in (made.C[:, 7], made.Y)]
    gap = [network.energy(problems, y, 3) for y in states]
    gap = (gap[0] - gap[1]) / network.schedule.sigma[3].item()
    np.testing.assert_allclose(seen["clean"][:, 7], gap.detach(), rtol=1e-8)
    assert not np.allclose(seen["clean"], seen["noised"])
    generator.set_state(state)
    again = ranking.candidate_gaps(network, problems, made, 3, 2, generator)
    np.testing.assert_array_equal(seen["noised"], again["noised"])


def test_correlations_are_scipys_among_what_is_spd(made, generator):
    away = ranking.candidate_distances(made)
    gap = torch.randn(6, 36, generator=generator, dtype=torch.float64).numpy()
    rows = ranking.correlate_gaps(gap, away, made).set_index(["kind", "problem", "distance"])
    for kind, chosen in (("all", made.kind >= 0), ("congruent", made.kind == 2)):
        some = chosen & made.definite[4]
        x, z, y = away["affine-invariant"][4, some], away["L2"][4, some], gap[4, some]
        row = rows.loc[(kind, 4, "affine-invariant")]
        r = [stats.spearmanr(*pair).statistic for pair in ((x, y), (z, y), (x, z))]
        assert row["rho"] == pytest.approx(r[0]) and row["of"] == some.sum()
        assert row["partial"] == pytest.approx((r[0] - r[1] * r[2]) / np.sqrt((1 - r[1] ** 2) * (1 - r[2] ** 2)))
    few = made.definite[:, made.kind == 0].sum(1) < ranking.FEWEST
    assert few.any() and set(rows.loc["noised"].index.unique("problem")) == set(np.flatnonzero(~few))


def test_all_energies_see_the_same_noise(network, ideal, problems, made, generator):
    energies = {"one": network, "two": network, "ideal": ideal}
    table = ranking.correlate_energies(energies, problems, made, (0, 4), 1, generator)
    one, two = (table[table["energy"] == name]["rho"].to_numpy() for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    assert set(table["landscape"]) == {0, 4} and set(table["place"]) == set(ranking.PLACES)


def test_bad_answers_are_named(problems, generator, network):
    Y = symmetric(torch.linalg.inv(problems))
    Y[2] -= 9 * torch.eye(4)
    with pytest.raises(ValueError, match="true answer 2 is not positive definite: .* -"):
        ranking.candidates(Y, 2, generator)
    with pytest.raises(ValueError, match="another problem"):
        ranking.candidates(Y[:1], 2, generator)
    made = ranking.candidates(Y[3:], 2, generator)
    low = ranking.Candidates(made.Y.float(), made.C.float(), made.kind, made.definite)
    with pytest.raises(ValueError, match="float64"):
        ranking.candidate_gaps(network, problems[3:], low, 0, 1, generator)
