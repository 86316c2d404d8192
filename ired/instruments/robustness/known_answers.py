"""Known answers, on planted data: matching of networks, and the rule that calls findings robust."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core.check import Check
from ired.instruments.robustness import procrustes_matching, score as robustness_score
from ired.instruments.robustness.procrustes_matching import Tokens

MATCHING, SCORE = "robustness", "robustness_score"


def _check(name: str, what: str, expected: float, measured: float, tolerance: float) -> Check:
    return Check(name, what, float(expected), float(measured), tolerance)


def planted_tokens(width: int, generator: torch.Generator) -> tuple[Tokens, Tensor]:
    """600 tokens of 3 landscapes, with activations (600, width) around a mean of each landscape."""
    tokens = Tokens.of(3, 100, 2)
    x = torch.randn(len(tokens.landscape), width, generator=generator, dtype=torch.float64)
    means = 3 * torch.randn(3, width, generator=generator, dtype=torch.float64)
    return tokens, x * torch.linspace(1, 3, width) + means[tokens.landscape]


def check_matching(generator: torch.Generator) -> list[Check]:
    """A planted rotation and a permuted dictionary are found; chance is what is stated."""
    tokens, x = planted_tokens(12, generator)
    Q = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64)).Q
    share, rotation = procrustes_matching.alignment(0.5 * x @ Q, x, tokens)
    away = (rotation.matrix - Q.mT).abs().max()
    shuffled, _ = procrustes_matching.alignment(0.5 * x @ Q, x, tokens, generator)
    codes = (x @ torch.randn(12, 30, generator=generator, dtype=torch.float64) - 4).relu()
    order = torch.randperm(30, generator=generator)
    found = procrustes_matching.match(codes, codes[:, order], tokens.fit, fires=1)
    right = (order[torch.from_numpy(found.second)] == torch.from_numpy(found.first)).double().mean()
    mixed = procrustes_matching.match(codes, codes[tokens.shuffled(generator)][:, order], tokens.fit, fires=1)
    # Within a landscape nothing is left in common: that is measured apart from what landscapes share.
    one = (tokens.landscape == 1).nonzero()[:, 0]
    noise = torch.randn(2, len(one), 20, generator=generator, dtype=torch.float64)
    apart = procrustes_matching.match(*noise, tokens.fit[one])
    axis = torch.randn(4000, 2, 21, generator=generator, dtype=torch.float64)
    single = torch.nn.functional.cosine_similarity(axis[:, 0], axis[:, 1], dim=1).abs().mean()
    drawn = procrustes_matching.chance_matched(1, 21, 1000, generator).mean()
    fixed = torch.eye(21, dtype=torch.float64)[:4]
    several = np.mean(
        [
            procrustes_matching.match_axes(
                fixed, torch.linalg.qr(torch.randn(21, 4, generator=generator, dtype=torch.float64)).Q.mT
            )[1].mean()
            for _ in range(300)
        ]
    )
    by_chance = procrustes_matching.chance_cosine(21)
    stated = procrustes_matching.chance_matched(4, 21, 300, generator).mean()
    table = np.full((5, 5), 0.4)
    same = procrustes_matching.pair_interval(table)
    return [
        _check(MATCHING, "share explained after a planted rotation", 1, share, 1e-12),
        _check(MATCHING, "the planted rotation", 0, away, 1e-10),
        _check(MATCHING, "scale of the planted rotation", 2, rotation.scale, 1e-10),
        _check(MATCHING, "share explained with tokens shuffled", 0, shuffled, 0.05),
        _check(MATCHING, "share of a permuted dictionary matched back", 1, right, 0),
        _check(MATCHING, "correlation of a permuted dictionary", 1, found.mean, 1e-12),
        _check(MATCHING, "shuffled tokens match less", 1, float(mixed.mean < 0.9), 0),
        # Fitted correlations of noise are large, as the best are taken; judged ones are around 0.
        _check(MATCHING, "judged correlation of matched noise", 0, apart.mean, 0.1),
        _check(MATCHING, "chance |cosine| of single directions", by_chance, single, 0.01),
        _check(MATCHING, "the same by matching one", by_chance, drawn, 0.02),
        _check(MATCHING, "chance of matching four of 21", several, stated, 0.02),
        _check(MATCHING, "width of the interval of equal pairs", 0, same.high - same.low, 1e-12),
    ]


def check_robust(generator: torch.Generator) -> list[Check]:
    """A planted common effect is robust and scores its share, one of random sign is not."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    common = 3 + 0.3 * rng.standard_normal((20, 5))
    signs = rng.choice([-1.0, 1.0], (20, 5))
    signs[:, 0], signs[:, 1] = 1, -1  # never all alike
    null = rng.standard_normal((4000, 5))
    alone = robustness_score.judged_rule(null, corrected=False).mean()
    together = np.mean([robustness_score.judged_rule(rows).any() for rows in null.reshape(200, 20, 5)])
    score = robustness_score.score
    covered = []
    for d in (0.5, 2.0):
        true = d * d / (1 + d * d)
        rows = d + rng.standard_normal((150, 5))
        ends = [robustness_score.score_interval(row) for row in rows]
        covered += [end.low <= true <= end.high for end in ends]
    many = score(2.0 + rng.standard_normal((20, 2000)))
    found = robustness_score.judged(common, np.ones(20))
    against = robustness_score.judged(common, -np.ones(20))
    return [
        _check(SCORE, "share robust of planted common effects", 1, found["robust"].mean(), 0),
        _check(SCORE, "share robust that were claimed the other way", 0, against["robust"].mean(), 0),
        _check(
            SCORE,
            "share robust of effects of random sign",
            0,
            robustness_score.judged(common * signs)["robust"].mean(),
            0,
        ),
        _check(SCORE, "score of equal effects", 1, score(np.full(5, 0.3)), 1e-3),
        _check(SCORE, "score of opposed effects", 0, score([1.0, -1, 1, -1, 0]), 0),
        # μ²/(μ² + σ²) = 4/5.
        _check(SCORE, "score with many networks", 0.8, many.mean(), 0.01),
        # Same sign and p < 0.05: 4.1 % in 20 000 trials, below the 5 % that is stated.
        _check(SCORE, "null effects called robust", 0.041, alone, 0.0125),
        _check(SCORE, "sets of 20 null effects with any robust", 0.04, together, 0.055),
        _check(SCORE, "share of intervals that cover", 0.96, np.mean(covered), 0.05),
        # Equal sizes with all signs: 2 of 32 give 1, 10 give (9 − 5)/20.
        _check(SCORE, "chance of equal sizes", 1 / 8, robustness_score.chance(np.ones(5)), 1e-3),
        _check(SCORE, "effect that five networks detect", 1.68, robustness_score.detectable(5), 0.005),
    ]
