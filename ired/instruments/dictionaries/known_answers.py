"""Known answers of Phase 2: planted dictionaries, splices, features and correlations."""

from __future__ import annotations

import numpy as np
import torch

from ired.instruments.core import patching, states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import Layered, References
from ired.instruments.dictionaries import (
    features,
    held_out_correlation,
    interpretation,
    property_correlation,
    recovery,
    rule_descriptions,
    sparse_autoencoder,
)
from ired.instruments.dictionaries.sparse_autoencoder import given_dictionary
from ired.instruments.dictionaries.training import Member, Plan, train_dictionaries
from ired.instruments.statistics import intervals


def check_dictionary(generator: torch.Generator) -> list[Check]:
    """A planted dictionary larger than the width is found; quality and matching by hand."""
    name, count, width, active = "dictionary", 40, 32, 2
    D = torch.nn.functional.normalize(torch.randn(count, width, generator=generator), dim=1)
    rates = torch.logspace(0, -0.5, count)
    rates *= active / rates.sum()

    def batches():
        while True:
            on = torch.rand(512, count, generator=generator) < rates
            yield (on * (0.5 + torch.rand(512, count, generator=generator))) @ D

    x = torch.cat([next(batches()) for _ in range(8)])
    mean, scale = sparse_autoencoder.activation_standardisation(x.mean(0), torch.cov(x.mT))
    members = [Member(kind, 64, active) for kind in ("l1", "topk")]
    trained, _ = train_dictionaries(members, Plan(200, rate=1e-2), batches(), mean, scale)
    checks, landscape = [], torch.zeros(len(x), dtype=torch.long)
    for member, learned in trained.items():
        quality = sparse_autoencoder.quality(learned, [x], landscape, mean[None])
        alive = learned.decoder[torch.from_numpy(quality.rates > 0)]
        cosine = float(sparse_autoencoder.matched_cosines(D, alive).mean())
        what = f"mean cosine of {member.architecture} to a planted dictionary"
        checks += [
            Check(name, what, expected=1, measured=cosine, tolerance=0.1),
            Check(name, f"L0 of {member.architecture}", expected=active, measured=quality.l0, tolerance=0.4 * active),
        ]
    order = torch.randperm(count, generator=generator)
    checks.append(compare(name, "cosines to a permutation", 1, sparse_autoencoder.matched_cosines(D, D[order]), 1e-6))
    # Standardised rows (1, 0), (0, 2), (−1, 0), (1, 1): neurons, one of two kept.
    plane = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0]])
    neurons = sparse_autoencoder.neurons(torch.zeros(2), torch.ones(()), 1)
    quality = sparse_autoencoder.quality(neurons, [plane], landscape[:4], torch.zeros(1, 2))
    return [
        *checks,
        Check(name, "variance explained by hand", expected=1 - 1 / 8, measured=quality.explained, tolerance=1e-6),
        Check(name, "L0 by hand", expected=1, measured=quality.l0, tolerance=1e-6),
    ]


def check_splice(references: References, generator: torch.Generator) -> list[Check]:
    """Nothing changed, everything hidden, f halved: on the ideal energy as a network of one layer."""
    name, energy, A = "splice", Layered(references.ideal), references.A
    at = recovery.situations(energy, A, states.answers(energy, A), generator)

    def shares(replace):
        left = recovery.recovery(energy, "fc1", replace, A, at)
        return [left.share(what) for what in ("gap", "score_of_constant")]

    nothing = torch.zeros(energy.coordinates.size)
    # At r noise radii from the answer the ideal energy is r²·σ_k·size/2.
    radii = torch.tensor([r for r in patching.DISTANCES for _ in range(2 if r else 1)], dtype=A.dtype)
    known = (radii**2 - (radii**2).mean()) * energy.coordinates.size / 2
    gaps = at.gaps.cpu() / energy.schedule.sigma.to(A).cpu()[:, None, None]
    return [
        compare(name, "energy gaps around the answer, in σ", known.expand_as(gaps), gaps, 1e-8),
        compare(name, "what is left under the layer's own activations", 1, shares(lambda h: h), 1e-6),
        compare(name, "what is left under a constant", 0, shares(patching.constant_replacement(nothing)), 1e-9),
        # A quarter of every energy, and of its gradient.
        compare(name, "what is left under half", 1 - 0.75**2, shares(lambda h: h / 2), 1e-9),
    ]


def check_features(references: References, generator: torch.Generator) -> list[Check]:
    """Effects and pictures on the ideal energy with its basis coordinates as features; planted rules."""
    name, energy, A = "features", Layered(references.ideal), references.A
    size, n, problems, each = energy.coordinates.size, energy.coordinates.n, len(A), 20
    y0 = states.answers(energy, A)
    columns = {
        "problem": torch.arange(problems).repeat_interleave(each),
        "landscape": torch.arange(problems * each) % energy.schedule.K,
    }
    noise = states.noise(energy, problems * each, generator=generator, like=A)
    k = columns["landscape"].to(A.device)
    home = energy.schedule.at("sqrt_alpha_bar", k, noise) * y0.repeat_interleave(each, 0)
    columns["y"] = home + energy.schedule.at("sigma", k, noise) * noise
    eye, nothing = torch.eye(size), torch.zeros(size)
    dictionary = given_dictionary("all", eye, nothing, torch.ones(()))
    every = torch.arange(problems * each)
    at = features.places(energy, A, y0, columns, every)
    attributed = features.attribute_features(energy, "fc1", dictionary, at)
    few = min(size, 6)
    exact = features.ablate(energy, "fc1", dictionary, at, torch.arange(few))
    # E/σ = ‖z‖²/2 with z standard normal: gradient × activation is z_i², ablation half of it.
    squares = states.array(energy.coordinates.to_basis(noise).pow(2).mean(0))
    agree = features.agreement(attributed, exact, np.arange(few))
    rows = states.state_basis(energy, A)[:few]
    fires = torch.ones(len(every), few, dtype=torch.bool)
    pictures = interpretation.pictures(energy, "fc1", eye[:few], eye[:few], A, columns, fires, 10, generator)
    expected = states.array(rows).reshape(few, n, n)
    checks = [
        compare(name, "attributions on a quadratic energy", squares, attributed.size, 1e-8),
        compare(name, "ablations on it", squares[:few] / 2, exact.size, 1e-8),
        compare(name, "rank correlation of the two", 1, agree.size.estimate, 1e-12),
        compare(name, "slope of ablation over attribution", 0.5, agree.slope.estimate, 1e-8),
        compare(name, "what a linear layer reads in y", expected, pictures.state, 1e-9),
        compare(name, "agreement of that picture between tokens", 1, pictures.state_agreement, 1e-9),
    ]

    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    problem, k = np.repeat(np.arange(40), 20), np.tile(np.arange(20) % 10, 40)
    half = problem % 2 == 0
    values = np.stack([k, rng.random(800)], 1).astype(np.float32)
    tokens = rule_descriptions.Described(
        names=("landscape", "distance"), values=values, problem=problem, landscape=k, fitting=half, testing=~half
    )
    planted = rule_descriptions.describe_firing(k <= 2, tokens)
    shuffled = [rule_descriptions.shuffled_auroc(k <= 2, tokens, rng) for _ in range(60)]
    blind = [rule_descriptions.describe_firing(rng.random(800) < 0.3, tokens).auroc.estimate for _ in range(10)]
    return checks + [
        Check(name, "AUROC of a planted rule", expected=1, measured=planted.auroc.estimate, tolerance=0),
        Check(name, "whether its words are k ≤ 2", expected=1, measured=float(planted.text == "k ≤ 2"), tolerance=0),
        Check(name, "AUROC of shuffled labels", expected=0.5, measured=float(np.mean(shuffled)), tolerance=0.1),
        Check(
            name,
            "AUROC of firing that depends on nothing",
            expected=0.5,
            measured=float(np.mean(blind)),
            tolerance=0.06,
        ),
    ]


def check_correlation(generator: torch.Generator) -> list[Check]:
    """Planted relations are found on held-out problems, chance is not; a confounder disappears."""
    name = "correlation"
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    count, width = 150, 40
    x = rng.normal(size=(count, width))
    planted, noise = -np.exp(x[:, 7]), rng.normal(size=count)
    properties = property_correlation.problem_properties({"trace": planted, "norm": noise})
    features = property_correlation.Units("sae", x, x)
    others = property_correlation.Units("neuron", *(rng.normal(size=(count, 10)) for _ in range(2)))
    correlated = property_correlation.correlate_units(features, properties, rng, 99)
    picked = held_out_correlation.select([features, others], properties, resamples=300)
    independent = property_correlation.problem_properties({str(i): rng.normal(size=count) for i in range(50)})
    p = property_correlation.correlate_units(features, independent, rng, 1).p
    checks = [
        compare(name, "rho of a planted monotone relation", -1.0, correlated.rho[7, 0], 1e-9),
        compare(name, "the unit that both halves choose", 7.0, picked.chosen[:, 0, 0], 0),
        compare(name, "its held-out rho", 1.0, picked.rho("sae").estimate[0], 1e-5),
        Check(
            name,
            "p of its being the largest by chance",
            expected=0.01,
            measured=correlated.best()["chance"][0],
            tolerance=1e-9,
        ),
        # Tests of one property share it, so this spreads more than 2000 independent ones would.
        Check(
            name,
            "share of raw p < 0.05 for independent data",
            expected=0.05,
            measured=(p < 0.05).mean(),
            tolerance=0.025,
        ),
        Check(
            name,
            "share of them after correction",
            expected=0.0,
            measured=(intervals.adjust(p) < 0.05).mean(),
            tolerance=0.002,
        ),
    ]
    tokens = torch.from_numpy(x).repeat_interleave(3, 0)
    problem = np.arange(count).repeat(3)
    copies = property_correlation.gather_units(
        {"sae": lambda h: h}, tokens.split(64), problem, property_correlation.one_token_each(problem, rng)
    )
    again = property_correlation.correlate_units(copies[0], properties, rng, 1)
    checks.append(compare(name, "p-values with every token three times", correlated.p, again.p, 1e-9))

    landscape, kind = rng.integers(0, 5, count), np.zeros(count)
    error = np.exp(landscape + 0.2 * rng.normal(size=count))
    shadow = landscape[:, None] + 0.5 * rng.normal(size=(count, 6))
    blurred = property_correlation.Units("sae", shadow, shadow)
    properties = property_correlation.token_properties(error, landscape, kind)
    correlated = property_correlation.correlate_units(blurred, properties, rng, 1)
    rho = dict(zip(correlated.properties, correlated.rho.T, strict=True))
    checks += [
        Check(
            name,
            "rho of error with the landscape's shadow",
            expected=0.9,
            measured=np.abs(rho["error"]).mean(),
            tolerance=0.1,
        ),
        Check(
            name,
            "the same at equal landscape",
            expected=0.0,
            measured=rho["error at one landscape"].mean(),
            tolerance=0.15,
        ),
    ]
    linear = property_correlation.problem_properties({"trace": x @ rng.normal(size=width), "norm": noise})
    r2 = held_out_correlation.predictability([features], linear, resamples=10)["r2"]
    checks += [
        Check(name, "R² of a planted linear property", expected=1.0, measured=r2[0], tolerance=1e-3),
        Check(name, "R² of noise, where it exceeds 0", expected=0.0, measured=max(r2[1], 0.0), tolerance=0.1),
    ]
    return checks
