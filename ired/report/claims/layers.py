"""Claims of phase 5, on layers: linear probes, gradient signal, ablation, feature circuits."""

from __future__ import annotations

from ired.report.confidence import CAUSAL, CORRELATIONAL, DESCRIPTIVE, Claim, criteria_of

CLAIMS = (
    Claim(
        name="depth-makes-linear",
        title="In fc3 properties of the problem are on the whole more linear than in fc1, in functions of the "
        "input, in an untrained network and in a regression network",
        kind=CORRELATIONAL,
        evidence=criteria_of(
            "rises_with_depth_beyond_controls selective inverse_is_linear_somewhere beyond_controls", "P5-01"
        ),
        sentence="""{{ n("P5-01.rises_with_depth_beyond_controls.beyond", ".0f") }} of
        {{ n("P5-01.rises_with_depth_beyond_controls.of", ".0f") }} properties rise beyond fc1, the inputs and
        an untrained network; R² of log λ_min is {{ n("P5-01.r2.fc3.smallest_eigenvalue", ".2f") }} in fc3,
        {{ n("P5-01.r2.given.smallest_eigenvalue", ".2f") }} in [A, A², y],
        {{ n("P5-01.r2.affine.smallest_eigenvalue", ".2f") }} in [A, y], which is all that an affine denoiser holds,
        {{ n("P5-01.r2.regression.smallest_eigenvalue", ".2f") }} in the third layer of a regression network; R² of the
        inverse's entries is {{ n("P5-01.r2.fc3.inverse", ".2f") }}, {{ n("P5-01.r2.given.inverse", ".2f") }},
        {{ n("P5-01.r2.affine.inverse", ".2f") }}, {{ n("P5-01.r2.regression.inverse", ".2f") }} there. On average over
        properties of a problem fc3 is ahead of the affine denoiser by
        {{ n("P5-01.beyond_controls.affine_margin", "+.2f") }}, of the regression network by
        {{ n("P5-01.beyond_controls.regression_margin", "+.2f") }}; the trace of A, which its answer does not need, is at
        {{ n("P5-01.r2.regression.trace", ".2f") }} there.""",
        sanity=("P6-03: fc3 makes log lambda_min linear",),
    ),
    Claim(
        name="success-foreseen",
        title="The network knows whether it will succeed, better than the problem tells",
        kind=CORRELATIONAL,
        evidence=("P5-01.success_is_foreseen",),
        sentence="""AUROC {{ n("P5-01.success_is_foreseen.auroc", ".2f") }}; bits saved beside [A, A², y]:
        {{ n("P5-01.success_is_foreseen.fewer_bits", ".2g") }}.""",
    ),
    Claim(
        name="gradients-flow",
        title="Gradients keep their size through the layers, and no unit is dead",
        kind=DESCRIPTIVE,
        evidence=criteria_of("gradients_keep_their_size no_dead_units", "P5-02"),
        sentence="""The largest change from f to fc1 is {{ n("P5-02.gradients_keep_their_size.decades", ".2g") }}
        decades.""",
        sanity=None,
        transfer=None,
    ),
    Claim(
        name="losses-agree",
        title="Denoising and contrastive loss pull the same way",
        kind=CORRELATIONAL,
        evidence=("P5-02.losses_agree",),
        sentence="""Cosine of their gradients {{ i("P5-02.headline", ".2f") }}; they agree in
        {{ n("P5-02.losses_agree.agreeing", ".0f") }} of ten landscapes.""",
        sanity=None,
        transfer=None,
    ),
    Claim(
        name="film-matters",
        title="The score depends on the modulation by the landscape",
        kind=CAUSAL,
        evidence=("P5-02.film_matters",),
        sentence="""Without it the score's squared change, over its own square, is larger by
        {{ n("P5-02.film_matters.weakest", ".4g") }} than an untrained network's, in the landscape where that is
        least; of several untrained ones it is {{ n("P5-02.untrained.film.least", ".2g") }} to
        {{ n("P5-02.untrained.film.most", ".2g") }} on average. Energies without layers have no counterpart.""",
    ),
    Claim(
        name="constant-and-ripple",
        title="f is a constant with a ripple: the score goes through its constant part",
        kind=DESCRIPTIVE,
        evidence=("P5-02.score_through_the_constant",),
        sentence="""The part of the score that does is {{ p("P5-02.score_through_the_constant.least") }} of it in the
        landscape where that is least (above 100 % where the other parts point against it); untrained networks have
        {{ p("P5-02.untrained.constant.least") }} to {{ p("P5-02.untrained.constant.most") }} on average.""",
        sanity=("P6-03: gaps lie along the constant of f",),
    ),
    Claim(
        name="layer-order",
        title="fc1, fc2, fc3 matter in an order on which kinds of ablation agree",
        kind=CAUSAL,
        evidence=criteria_of(
            "every_layer_is_nonlinear ranking_agrees_across_ablations ranking_holds_over_halves", "P5-03"
        ),
        sentence="""A linear map in place of fc1, fc2, fc3 adds {{ n("P5-03.every_layer_is_nonlinear.fc1") }},
        {{ n("P5-03.every_layer_is_nonlinear.fc2") }}, {{ n("P5-03.every_layer_is_nonlinear.fc3") }} to an MSE of
        {{ n("P5-03.mse.whole") }}; in a regression network {{ n("P5-03.regression.fc1") }},
        {{ n("P5-03.regression.fc2") }}, {{ n("P5-03.regression.fc3") }} to one of
        {{ n("P5-03.regression.whole") }}. Kendall's W by order, score and MSE:
        {{ n("P5-03.ranking_agrees_across_ablations.w_order", ".2f") }},
        {{ n("P5-03.ranking_agrees_across_ablations.w_score", ".2f") }},
        {{ n("P5-03.ranking_agrees_across_ablations.w_mse", ".2f") }}.""",
    ),
    Claim(
        name="layer-order-learned",
        title="That order is learned, not the architecture's",
        kind=DESCRIPTIVE,
        evidence=("P5-03.ranking_is_learned",),
        sentence="""An untrained network's ranking has τ {{ n("P5-03.ranking_is_learned.order", ".2f") }} to the trained
        one's by order, {{ n("P5-03.ranking_is_learned.score", ".2f") }} by score.""",
    ),
    Claim(
        name="composition-sparse",
        title="The energy is composed of few parts: sparse edges, few outputs",
        kind=DESCRIPTIVE,
        evidence=criteria_of("graph_is_sparser_than_chance few_outputs_carry_the_gap beyond_controls", "P5-04"),
        sentence="""The share of sources that a target needs, less that of the nearest control:
        {{ i("P5-04.headline", ".3f") }}; {{ p("P5-04.few_outputs_carry_the_gap.share") }} of the outputs carry
        80 % of the gap. One problem's gap needs a share of them that is smaller than in the bowl around least squares by
        {{ n("P5-04.beyond_controls.affine_margin", ".2g") }}, than in that around a regression network's answers by
        {{ n("P5-04.beyond_controls.regression_margin", ".2g") }}.""",
    ),
    Claim(
        name="outputs-are-parts",
        title="Outputs of f stand for entries or eigen-directions of the inverse",
        kind=DESCRIPTIVE,
        evidence=criteria_of("outputs_are_entries gap_follows_eigen_directions", "P5-04"),
        sentence="""The share of an output's gap that its own coordinate makes is
        {{ n("P5-04.outputs_are_entries.share", ".2f") }}; less that in turned coordinates
        {{ n("P5-04.outputs_are_entries.beside", "+.2g") }}.""",
    ),
)
