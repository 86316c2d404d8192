"""Known answers, on planted data: matching of networks, and the rule that calls findings robust."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core.check import Check
from ired.instruments.robustness import procrustes_matching, score as robustness_score
from ired.instruments.robustness.procrustes_matching import MatchingTokens
from ired.instruments.statistics.power import detectable

MATCHING, SCORE = "robustness", "robustness_score"


def _check(name: str, what: str, expected: float, measured: float, tolerance: float) -> Check:
    return Check(name, what, expected=float(expected), measured=float(measured), tolerance=tolerance)


def planted_tokens(width: int, generator: torch.Generator) -> tuple[MatchingTokens, Tensor]:
    """600 tokens of 3 landscapes, with activations (600, width) around a mean of each landscape."""
    tokens = MatchingTokens.of(3, 100, 2)
    x = torch.randn(len(tokens.landscape), width, generator=generator, dtype=torch.float64)
    means = 3 * torch.randn(3, width, generator=generator, dtype=torch.float64)
    return tokens, x * torch.linspace(1, 3, width) + means[tokens.landscape]


def check_matching(generator: torch.Generator) -> list[Check]:
    """A planted rotation and a permuted dictionary are found; chance is what is stated."""
    tokens, x = planted_tokens(12, generator)
    Q = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64)).Q
    share, rotation = procrustes_matching.procrustes_alignment(0.5 * x @ Q, x, tokens)
    error = (rotation.matrix - Q.mT).abs().max()
    shuffled, _ = procrustes_matching.procrustes_alignment(0.5 * x @ Q, x, tokens, generator)
    codes = (x @ torch.randn(12, 30, generator=generator, dtype=torch.float64) - 4).relu()
    order = torch.randperm(30, generator=generator)
    matched = procrustes_matching.match(codes, codes[:, order], tokens.fit, fires=1)
    right = (order[torch.from_numpy(matched.second)] == torch.from_numpy(matched.first)).double().mean()
    mixed = procrustes_matching.match(codes, codes[tokens.shuffled(generator)][:, order], tokens.fit, fires=1)
    # Within a landscape nothing is left in common: that is measured apart from what landscapes share.
    in_landscape = (tokens.landscape == 1).nonzero()[:, 0]
    noise = torch.randn(2, len(in_landscape), 20, generator=generator, dtype=torch.float64)
    apart = procrustes_matching.match(*noise, tokens.fit[in_landscape])
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
        _check(MATCHING, "share explained after a planted rotation", expected=1, measured=share, tolerance=1e-12),
        _check(MATCHING, "the planted rotation", expected=0, measured=error, tolerance=1e-10),
        _check(MATCHING, "scale of the planted rotation", expected=2, measured=rotation.scale, tolerance=1e-10),
        _check(MATCHING, "share explained with tokens shuffled", expected=0, measured=shuffled, tolerance=0.05),
        _check(MATCHING, "share of a permuted dictionary matched back", expected=1, measured=right, tolerance=0),
        _check(MATCHING, "correlation of a permuted dictionary", expected=1, measured=matched.mean, tolerance=1e-12),
        _check(MATCHING, "shuffled tokens match less", expected=1, measured=float(mixed.mean < 0.9), tolerance=0),
        # Fitted correlations of noise are large, as the best are taken; judged ones are around 0.
        _check(MATCHING, "judged correlation of matched noise", expected=0, measured=apart.mean, tolerance=0.1),
        _check(MATCHING, "chance |cosine| of single directions", expected=by_chance, measured=single, tolerance=0.01),
        _check(MATCHING, "the same by matching one", expected=by_chance, measured=drawn, tolerance=0.02),
        _check(MATCHING, "chance of matching four of 21", expected=several, measured=stated, tolerance=0.02),
        _check(
            MATCHING, "width of the interval of equal pairs", expected=0, measured=same.high - same.low, tolerance=1e-12
        ),
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
    score = robustness_score.robustness_score
    covered = []
    for d in (0.5, 2.0):
        true = d * d / (1 + d * d)
        rows = d + rng.standard_normal((150, 5))
        ends = [robustness_score.score_interval(row) for row in rows]
        covered += [end.low <= true <= end.high for end in ends]
    many = score(2.0 + rng.standard_normal((20, 2000)))
    agreed = robustness_score.robustness_columns(common, np.ones(20))
    against = robustness_score.robustness_columns(common, -np.ones(20))
    return [
        _check(
            SCORE, "share robust of planted common effects", expected=1, measured=agreed["robust"].mean(), tolerance=0
        ),
        _check(
            SCORE,
            "share robust that were claimed the other way",
            expected=0,
            measured=against["robust"].mean(),
            tolerance=0,
        ),
        _check(
            SCORE,
            "share robust of effects of random sign",
            expected=0,
            measured=robustness_score.robustness_columns(common * signs)["robust"].mean(),
            tolerance=0,
        ),
        _check(SCORE, "score of equal effects", expected=1, measured=score(np.full(5, 0.3)), tolerance=1e-3),
        _check(SCORE, "score of opposed effects", expected=0, measured=score([1.0, -1, 1, -1, 0]), tolerance=0),
        # μ²/(μ² + σ²) = 4/5.
        _check(SCORE, "score with many networks", expected=0.8, measured=many.mean(), tolerance=0.01),
        # Same sign and p < 0.05: 4.1 % in 20 000 trials, below the 5 % that is stated.
        _check(SCORE, "null effects called robust", expected=0.041, measured=alone, tolerance=0.0125),
        _check(SCORE, "sets of 20 null effects with any robust", expected=0.04, measured=together, tolerance=0.055),
        _check(SCORE, "share of intervals that cover", expected=0.96, measured=np.mean(covered), tolerance=0.05),
        # Equal sizes with all signs: 2 of 32 give 1, 10 give (9 − 5)/20.
        _check(
            SCORE, "chance of equal sizes", expected=1 / 8, measured=robustness_score.chance(np.ones(5)), tolerance=1e-3
        ),
        _check(
            SCORE,
            "effect that five networks detect",
            expected=1.68,
            measured=detectable(5),
            tolerance=0.005,
        ),
    ]
