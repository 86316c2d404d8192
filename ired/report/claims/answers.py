"""Claims on the answers: accuracy beside least squares, sensitivity beside the exact Jacobian."""

from __future__ import annotations

from ired.report.confidence import CAUSAL, DESCRIPTIVE, Claim, criteria_of

CLAIMS = (
    Claim(
        name="more-than-linear",
        title="The answers are more than the best affine map of A",
        kind=DESCRIPTIVE,
        evidence=(
            "SETUP-3.beats_least_squares",
            "SETUP-3.more_than_affine",
            "SETUP-5.more_than_an_affine_map",
            "P6-03.more_than_linear",
        ),
        sentence="""The sampled error is {{ i("SETUP-3.headline") }}, where least squares on A has
        {{ n("SETUP-2.mse.test.least_squares") }}. Of what least squares misses the answers recover
        {{ i("SETUP-3.recovered.test", ".2f") }} (a slope: above 1 is overdone). An affine map of A explains
        {{ n("SETUP-3.affine_share.test", ".2f") }} of their variance.""",
        seeds=("P7-01.beats_least_squares",),
        sanity=("P6-03: answers beat least squares", "P6-03: answers follow the inverse"),
        transfer=(
            "P6-04.still_better_than_linear",
            "SETUP-3.harder_beats_least_squares",
            "P7-01.harder_beats_least_squares",
        ),
    ),
    Claim(
        name="path-keeps-the-answer",
        title="No stage of sampling makes answers worse",
        kind=DESCRIPTIVE,
        evidence=("SETUP-3.path_keeps_the_answer",),
        sentence="""From one stage of the sampling path to the next the error of the clean estimate rises by
        {{ n("SETUP-3.path_keeps_the_answer.rise") }} at most, in landscape
        {{ n("SETUP-3.path_keeps_the_answer.landscape", ".0f") }}. Stopping after landscape
        {{ n("SETUP-3.stop.landscape", ".0f") }}, as chosen on other problems, changes the final error by
        {{ i("SETUP-3.stop.difference") }}.""",
    ),
    Claim(
        name="more-than-one-bowl",
        title="The energy is more than one bowl around linear regression",
        kind=DESCRIPTIVE,
        evidence=("SETUP-3.more_than_affine_score", "SETUP-3.beats_affine_denoiser"),
        sentence="""An affine map of A and the state explains
        {{ n("SETUP-3.more_than_affine_score.share", ".3f") }} of the score at k = 0 (of an untrained network's
        {{ n("SETUP-3.more_than_affine_score.untrained", ".2f") }}), and Hessians differ by
        {{ p("SETUP-3.linearity.spread.k0") }} of their mean. Where it is most surely below, at
        k = {{ n("SETUP-3.beats_affine_denoiser.landscape", ".0f") }}, the denoising loss is
        {{ n("SETUP-3.beats_affine_denoiser.ratio", ".2f") }} times the affine denoiser's.""",
    ),
    Claim(
        name="follows-exact-sensitivity",
        title="Answers change with A as the exact inverse does",
        kind=CAUSAL,
        evidence=criteria_of(
            "answers_follow_exact_sensitivity score_follows_exact_sensitivity beyond_controls", "P3-01"
        ),
        sentence="""The Jacobian of the sampled answers by A has cosine
        {{ n("P3-01.answers_follow_exact_sensitivity.cosine", ".2f") }} to the exact one (affine denoiser
        {{ n("P3-01.answers.cosine.affine", ".2f") }}, regression network
        {{ n("P3-01.answers.cosine.regression", ".2f") }}) and
        {{ n("P3-01.answers_follow_exact_sensitivity.slope", ".2f") }} of its size; the score of the sharpest
        landscape {{ n("P3-01.score_follows_exact_sensitivity.cosine", ".2f") }} and
        {{ n("P3-01.score_follows_exact_sensitivity.slope", ".2f") }}.""",
        sanity=("P6-03: answers follow the exact Jacobian", "P6-03: score follows the exact gradient"),
    ),
    Claim(
        name="finite",
        title="Every answer is finite, to inputs without sense too",
        kind=DESCRIPTIVE,
        evidence=("P6-04.finite_everywhere",),
        sentence="""The smallest share of finite answers over families and senseless inputs is
        {{ n("P6-04.finite_everywhere.least") }}.""",
        sanity=None,
        transfer=None,
    ),
)
