"""Claims of phase 1, on the energy landscape: gradients, Hessians, convexity, minima."""

from __future__ import annotations

from ired.report.confidence import CORRELATIONAL, DESCRIPTIVE, Claim

CLAIMS = (
    Claim(
        name="points-home",
        title="Around the answer the gradient points to it and sees the problem, more than plain predictions do",
        kind=DESCRIPTIVE,
        evidence=("P1-02.points_to_the_answer", "P1-02.sees_the_problem", "P1-02.beyond_controls"),
        sentence="""One noise radius away the cosine to the answer is {{ i("P1-02.headline", ".2f") }} at k = 0 (the affine
        denoiser {{ n("P1-02.cosine.affine", ".2f") }}, the regression network
        {{ n("P1-02.cosine.regression", ".2f") }}). The score error is
        {{ n("P1-02.sees_the_problem.ratio", ".2f") }} of that of the best multiple of the state, which never sees A
        (the affine denoiser's {{ n("P1-02.score_error.affine", ".2f") }}, the regression network's
        {{ n("P1-02.score_error.regression", ".2f") }}).""",
    ),
    Claim(
        name="wrong-answers-cost-more",
        title="Other problems' answers have higher energy than the right one, at k = 0",
        kind=DESCRIPTIVE,
        evidence=("P1-04.wrong_answers_cost_more",),
        sentence="""Other problems' answers cost more in {{ p("P1-04.wrong_answers_cost_more.rate", ".1%") }} of pairs, with an
        untrained network in {{ p("P1-04.wrong_answers_cost_more.untrained", ".1%") }}, with the affine denoiser in
        {{ p("P1-04.wrong_answers.affine", ".1%") }} and with the regression network in
        {{ p("P1-04.wrong_answers.regression", ".1%") }}.""",
        sanity=("P6-03: energy ranks states",),
    ),
    Claim(
        name="bowl-of-noise",
        title="At noised answers the sharpest landscape is a bowl, nearer to the ideal one than its controls are",
        kind=DESCRIPTIVE,
        evidence=(
            "P1-01.closer_to_the_bowl_than_untrained",
            "P1-01.beyond_controls",
            "P1-03.curved_upwards_at_noise",
            "P1-03.nearer_to_the_ideal_than_untrained",
            "P1-04.convex_at_the_noise",
        ),
        sentence="""At k = 0 {{ p("P1-03.curved_upwards_at_noise.share", ".1%") }} of the Hessian's eigenvalues are
        negative and {{ p("P1-04.convex_at_the_noise.share") }} of segments convex (untrained:
        {{ p("P1-04.convex_at_the_noise.untrained") }}); mean curvature × σ is {{ i("P1-03.headline", ".2f") }},
        ideally 1. Random slices correlate {{ n("P1-01.ideal_correlation.trained", ".2f") }} with the ideal bowl (the
        affine denoiser's {{ n("P1-01.ideal_correlation.affine", ".2f") }}, the regression network's
        {{ n("P1-01.ideal_correlation.regression", ".2f") }}).""",
    ),
    Claim(
        name="curvature-follows-problem",
        title="The curvature follows a function of A, as no bowl around a prediction does",
        kind=CORRELATIONAL,
        evidence=("P1-03.curvature_knows_the_problem", "P1-03.beyond_controls"),
        sentence="""The traceless part of the Hessian has cosine
        {{ n("P1-03.curvature_knows_the_problem.cosine", ".2f") }} to that of A² ⊗ I, and
        {{ n("P1-03.curvature_knows_the_problem.linear", ".2f") }},
        {{ n("P1-03.curvature_knows_the_problem.log", ".2f") }} and
        {{ n("P1-03.curvature_knows_the_problem.inverse", ".2f") }} with A, log A and −A⁻¹ in its place; an untrained
        network's is {{ n("P1-03.curvature_knows_the_problem.untrained", ".2f") }}.""",
    ),
    Claim(
        name="error-bars",
        title="At k = 0 curvature gives denoised estimates error bars as large as their errors",
        kind=DESCRIPTIVE,
        evidence=("P1-03.error_bars_calibrated",),
        sentence="""The squared error of denoised estimates is {{ n("P1-03.error_bars_calibrated.ratio", ".2f") }} of
        what the covariance (σ²/ᾱ)(I − σH) predicts; its 95 % intervals hold
        {{ p("P1-03.error_bars_calibrated.coverage_95") }} of the answers' entries, and
        {{ p("P1-03.error_bars_calibrated.negative") }} of its variances are impossible. On average every score of the
        right scale is so calibrated, an affine denoiser's and an untrained network's too.""",
    ),
    Claim(
        name="error-bars-rank",
        title="Error bars from curvature tell harder problems apart better than κ(A)",
        kind=CORRELATIONAL,
        evidence=("P1-03.error_bars_rank_problems",),
        sentence="""At k = 0 predicted errors have rank correlation
        {{ n("P1-03.error_bars_rank_problems.spearman", ".2f") }} with actual ones over problems, κ(A)
        {{ n("P1-03.error_bars_rank_problems.kappa", ".2f") }}; a bowl around a prediction ranks nothing.""",
    ),
    Claim(
        name="bottom-at-answer",
        title="The answer lies at the bottom of the sharpest landscape",
        kind=DESCRIPTIVE,
        evidence=(
            "P1-01.answer_lowest_in_its_slice",
            "P1-02.descent_finds_the_answer",
            "P1-04.bottom_at_the_answer",
            "P1-04.no_lower_minimum",
        ),
        sentence="""The nearest minimum is on average {{ n("P1-04.bottom_at_the_answer.distance", ".2g") }} noise radii
        from the answer. In the sampler's box {{ p("P1-04.bottom_at_the_answer.inside_found") }} of problems have a
        minimum, at a median of {{ n("P1-04.bottom_at_the_answer.inside_median", ".2g") }} radii, and it holds the
        lowest one in {{ p("P1-04.no_lower_minimum.lowest_inside") }}. The nearest is the lowest in
        {{ p("P1-04.no_lower_minimum.share") }} of problems;
        {{ i("P1-04.headline", ".2g") }} minima are found a problem, and
        {{ p("P1-01.answer_lowest_in_its_slice.share") }} of a random slice lies below the answer
        (the affine denoiser's {{ p("P1-01.below.affine") }}, the regression network's
        {{ p("P1-01.below.regression") }}).""",
    ),
    Claim(
        name="nearer-than-a-prediction",
        title="The sharpest landscape has its nearest minimum nearer to the answer than plain predictions are",
        kind=DESCRIPTIVE,
        evidence=("P1-04.beyond_controls",),
        sentence="""At k = 0 the nearest minimum is {{ n("P1-04.nearest_minimum.trained", ".2g") }} noise radii from the
        answer, least squares {{ n("P1-04.nearest_minimum.affine", ".2g") }} and the regression network
        {{ n("P1-04.nearest_minimum.regression", ".2g") }} (what is farther than ten, or was not found, counts as
        ten).""",
    ),
)
