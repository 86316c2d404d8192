"""The calibration of layer ablations names the instrument that is broken."""

import pytest
import torch

from ired.instruments.layers import ablation, ablation_damage, ablation_ranking
from ired.instruments.layers.known_answers_ablation import check_layer_ablation, check_layer_ranking


def missed(checks):
    return {check.instrument for check in checks if not check.passed}


def drawn():
    return torch.Generator().manual_seed(3)


def spoiled(monkeypatch, room, name, spoil):
    own = getattr(room, name)
    monkeypatch.setattr(room, name, lambda *a, **k: spoil(own(*a, **k)))


@pytest.mark.parametrize("references", [True], indirect=True)
@pytest.mark.parametrize(
    "room, name, spoil",
    [
        (ablation, "_over_problems", lambda f: lambda h, y, k: f(h, y, k) * (1 + h.shape[-1] / 100)),
        (ablation, "least_squares", lambda f: lambda x: 1.01 * f(x)),
        (ablation, "_projected", lambda f: lambda h, y, k: f(h, y, k) + 0.01 * h),
        (ablation, "instead", lambda f: lambda h, y, k: f(h, y, 0)),
        (ablation_damage, "_gaps", lambda gaps: gaps.relu()),
    ],
    ids=["mean over problems", "fit", "components", "landscape", "gaps"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, room, name, spoil):
    spoiled(monkeypatch, room, name, spoil)
    assert missed(check_layer_ablation(references, drawn())) == {"layer_ablation"}


@pytest.mark.parametrize("name", ["damage_ranks", "_sums_by_chance"])
def test_a_broken_ranking_is_named(monkeypatch, name):
    ablation_ranking._sums_by_chance.cache_clear()
    spoil = {"damage_ranks": lambda r: r[:, ::-1] ** 2, "_sums_by_chance": lambda null: dict.fromkeys(null, 1.0)}
    spoiled(monkeypatch, ablation_ranking, name, spoil[name])
    assert missed(check_layer_ranking(drawn())) == {"layer_ranking"}
