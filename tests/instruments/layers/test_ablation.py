"""Layer ablations on a learned energy: what must not change, what must, and who ranks what."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.layers import ablation, ablation_damage, ablation_ranking
from ired.instruments.layers.ablation import LAYERS, WHOLE, Ablated, InLandscape
from ired.instruments.statistics.regression import least_squares
from ired.model import problems, weight_edits
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.sampling import SamplingConfig, sample

N, P = 3, 4


def walk(energy, A, start, first=None, callback=None):
    config = SamplingConfig(inner_steps=1)
    return sample(energy, A, config, start=start, first=first, callback=callback)


@pytest.fixture(scope="module", params=[False, True], ids=["all", "symmetric"])
def case(request):
    """A network, problems, what it does on others, and all ablations."""
    config = EnergyConfig(N, 16, landscapes=4, shift=0.3, scale=0.5, symmetric=request.param)
    energy = MLPEnergy(config, problems.generator(0, "layers")).double().requires_grad_(False)
    generator = problems.generator(1, "layers")
    A, others = problems.draw(P + 20, N, 0.5, generator, torch.float64).split([P, 20])
    states = ablation.tokens(energy, others, walk, generator)
    known = ablation.habits(energy, others, states)
    at = ablation_damage.ablation_bench(energy, A, walk, generator)
    plan = ablation.plan(
        energy,
        A,
        known,
        others[:2],
        (0.5, 0.75),
        2,
        lambda layer: weight_edits.without_film(energy, layer),
        lambda layer, share: weight_edits.low_rank(energy, layer, share),
        generator,
    )
    return SimpleNamespace(energy=energy, A=A, others=others, states=states, known=known, at=at, plan=plan)


def only(case, kind, layer):
    return next(a for a in case.plan if (a.kind, a.layer) == (kind, layer))


def test_the_plan_holds_every_kind_where_it_is_defined(case):
    held = {kind: [a.layer for a in case.plan if a.kind == kind] for kind in ablation.KINDS}
    for kind, layers in held.items():
        where = {"identity": ("fc2", "fc3"), "film_off": ("fc2", "fc3"), "linear_stack": LAYERS[1:]}
        assert set(layers) == set(where.get(kind, LAYERS)), kind
    halves = [a.energy for a in case.plan if a.kind == "mean_half" and a.layer == "fc2"]
    y, h = case.at.noised[1], torch.zeros(P, 16, dtype=torch.float64)
    one, other = (energy.replaced(h + torch.nan, y, 1).isnan() for energy in halves)
    assert (one ^ other).all()  # the second half is the complement of the first


def test_tokens_are_noised_entering_and_denoised(case):
    K, root = case.energy.schedule.K, case.energy.schedule.sqrt_alpha_bar
    assert case.states.shape == (K, 20, 3, N * N)
    seen = []
    start = case.states[-1, :, 1]
    walk(case.energy, case.others, start, callback=seen.append)
    denoised = {s.landscape: s.y for s in seen if s.stage == "denoise"}
    left = {s.landscape: s.y for s in seen if s.stage == "descend"}
    for k in range(K):
        assert torch.allclose(case.states[k, :, 2], denoised[k])
        if k + 1 < K:
            assert torch.allclose(case.states[k, :, 1], left[k + 1] / root[k + 1] * root[k])


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_kept_whole_changes_nothing(case, layer):
    same = Ablated(case.energy, layer, ablation._projected(case.known[layer], 999))
    full = weight_edits.low_rank(case.energy, layer, 1.0)
    for energy in (same, full, only(case, "rounding", layer).energy):
        found = ablation_damage.damage_terms(energy, case.at)
        assert found["order"].max() < 0.02 and found["score"].max() < 1e-10
    assert np.allclose(case.at.sampled(same), case.at.mse)


def test_without_modulation_its_loss_is_nothing(case):
    bare = weight_edits.without_film(weight_edits.without_film(case.energy, "fc2"), "fc3")
    at = ablation_damage.ablation_bench(bare, case.A, walk, problems.generator(2, "layers"))
    found = ablation_damage.damage_terms(weight_edits.without_film(bare, "fc2"), at)
    assert not found["order"].any() and found["score"].max() < 1e-28
    assert ablation_damage.damage_terms(only(case, "film_off", "fc2").energy, case.at)["score"].min() > 0


def test_a_whole_layer_gone_leaves_constant_energies_whichever_it_is(case):
    for kind in WHOLE:
        samples = []
        for layer in LAYERS:
            energy = only(case, kind, layer).energy
            gaps = ablation_damage._gaps(energy.energy(case.A, case.at.near[1], 1))
            assert not gaps.any() and not energy.gradient(case.A, case.at.noised[1], 1).any()
            samples.append(case.at.sampled(energy))
        assert np.ptp(samples, axis=0).max() == 0


def test_identity_passes_on_what_comes_in(case):
    prepared, y = case.energy.prepare(case.A), case.at.near[2]
    below = case.energy.activations(prepared, y, 2)["fc1"]
    expected = case.energy.resume("fc2", below, prepared, 2)
    assert torch.allclose(only(case, "identity", "fc2").energy.energy(case.A, y, 2), expected)


def test_the_affine_fit_is_least_squares_and_exact_for_f(case):
    x = torch.randn(40, 5, generator=problems.generator(3, "layers"), dtype=torch.float64)
    x = torch.cat([x, x[:, :1] + x[:, 1:2]], 1)  # one input depends on two others
    h = torch.randn(40, 3, generator=problems.generator(4, "layers"), dtype=torch.float64)
    residual = least_squares(x, h)(x) - h
    assert residual.sum(0).abs().max() < 1e-12 and (x.mT @ residual).abs().max() < 1e-11
    found = ablation_damage.damage_terms(only(case, "linear", "fc4").energy, case.at)
    assert not found["order"].any() and found["score"].max() < 1e-16
    parts = ablation.unexplained(case.energy, case.A, case.states[:, :P], case.known)
    r2 = ablation_damage.linear_fit_r2(parts).groupby(["layer", "kind"])["r2"].mean()
    assert np.isclose(r2["fc4", "linear"], 1) and r2["fc1", "linear"] < 1
    with pytest.raises(ValueError, match="coefficients"):
        ablation.habits(case.energy, case.others[:4], case.states[:, :4])


def test_an_ablation_in_one_landscape_leaves_the_others(case):
    ablation = only(case, "identity", "fc3")
    mixed, y = ablation.only_in(case.energy, 1), case.at.noised
    assert isinstance(mixed, InLandscape)
    prepared = mixed.prepare(case.A)
    for k, own in ((0, case.energy), (1, ablation.energy), (3, case.energy)):
        assert torch.allclose(mixed.energy(prepared, y[k], k), own.energy(case.A, y[k], k))
        assert torch.allclose(mixed.gradient(prepared, y[k], k), own.gradient(case.A, y[k], k))
    rows = ablation_damage.one_landscape(case.energy, ablation, 1, case.at)
    whole = case.at.sampled(mixed)  # from the start: the same path down to the landscape
    assert np.allclose(rows["mse"], whole) and np.allclose(rows["rise"], whole - case.at.mse)


@pytest.mark.slow
def test_damages_are_ranked_and_told_apart(case):
    plan = [a for a in case.plan if a.share in (1.0, 0.5) and a.draw == 0]
    damage = ablation_damage.damage_of_plan(plan, case.at, True)
    assert np.isfinite(damage.select_dtypes("number").to_numpy()).all()
    assert len(damage) == len(plan) * case.energy.schedule.K * P
    summary = ablation_damage.damage_summary(damage, case.at.mse)
    row = summary.set_index(["kind", "layer", "share"]).loc["linear", "fc1", 1.0]
    errors = damage[(damage["kind"] == "linear") & (damage["layer"] == "fc1")]
    assert np.isclose(row["score"], errors["score"].mean()) and row["rise_low"] <= row["rise"]
    ranking = ablation_ranking.ranking_table(damage, 0.5)
    for _, rows in ranking.groupby(["measure", "kind"]):
        assert np.isclose(rows["damage"].iloc[rows["rank"].argmin()], rows["damage"].max(), atol=0)
    voting = damage[~damage["kind"].isin(("identity", "film_off"))].drop(columns="mse")
    assert set(ablation_ranking.ranking_table(voting, 0.5)["measure"]) == {"order", "score"}
    agree = ablation_ranking.concordances(damage, 0.5)
    assert list(agree["voters"]) == [5, 4] * 3 and agree["p"].between(0, 1).all()
    votes = ablation_ranking.damages(damage, "score", 0.5)
    assert list(votes.columns) == ["fc1", "fc2", "fc3"] and list(votes.index) == list(ablation_ranking.VOTERS)
    assert ablation_ranking.compare_rankings(damage, damage, "score", 0.5).tau == 1
    assert len(ablation_ranking.tops(damage, "score", 0.5)) == case.energy.schedule.K
    alone = ablation_damage.judged_alone(case.energy, plan, (0, 1), 0.5, case.at)
    assert len(alone) == 2 * 19 * P  # of 21 two are known


def test_shared_ranks_lower_the_bar_and_do_not_break_it():
    tied = ablation_ranking.concordance([[1.0, 1.0, 0.0], [2.0, 2.0, 1.0]])
    assert tied.w == pytest.approx(1) and tied.p == pytest.approx(1 / 3)
    nothing = ablation_ranking.concordance(np.zeros((3, 3)))
    assert (nothing.w, nothing.p, nothing.needed) == (0, 1, 1.01)


def test_blind_units_of_noise(case):
    """A network whose score is the blind guess is worth 1, by the landscape and pooled."""
    at = case.at

    class Blind:
        def prepare(self, A):
            return A

        def energy(self, A, y, k):
            return y.pow(2).sum(-1)

        def gradient(self, A, y, k):
            y = case.energy.coordinates.project(y)
            return y * (y * at.noise[k]).sum() / y.pow(2).sum()

    found = ablation_damage.damage_terms(Blind(), at)
    assert np.allclose(found["noise"].mean(1), 1) and np.isclose(found["noise_pooled"].mean(), 1)
    assert states.array(at.noise).shape == (4, P, N * N)
