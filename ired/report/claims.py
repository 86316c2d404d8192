"""What this project puts to the test: every claim with the criteria that it rests on and what doubts it.

`sentence` says what was measured, in words that are true however it came out; whether the claim stands is for
the rule to say (`ired.report.confidence`). In it, n("P3-01.headline") is a number of that run, i(...)
the same with its interval, p(...) a share in per cent; the name of a criterion gives the numbers behind it.
A criterion of an experiment belongs to a claim here, or to the assumptions or records below, or is a
calibration: a test holds that none is left out.
"""

from __future__ import annotations

from ired.report.confidence import CAUSAL, CORRELATIONAL, DESCRIPTIVE, Claim

INSTRUMENTS = "SETUP-4"  # every known answer of an instrument is an assumption of all claims
# Without these what an experiment says means little.
ASSUMPTIONS = (
    "SETUP-1.linear_algebra_accurate",
    "SETUP-2.splits_share_no_problem",
    "SETUP-3.beats_mean",
    "SETUP-3.average_agrees",
    "SETUP-5.model_trained",
    "SETUP-5.instruments_calibrated",
    "SETUP-5.queue_consistent",
    "P1-02.field_is_a_gradient",
    "P2-01.stored_is_computed",
    "P2-01.variance_within_landscapes",
    "P2-02.few_dead_features",
    "P2-03.few_dead_features",
    "P2-04.few_dead_features",
    "P3-01.completeness_below_1_percent",
    "P3-04.edits_stay_near_manifold",
    "P4-01.laws_hold",
    "P4-03.first_order_holds",
    "P5-03.idle_ablation_changes_nothing",
    "P5-04.edges_verified",
    "P6-04.null_is_not_detected",
    *(f"P7-0{i}.{name}" for i in (1, 2, 3) for name in ("one_recipe", "every_seed_beats_mean", "score_alive")),
    "P7-04.only_negatives_differ",
    "P7-04.told_apart",
)

# Of a summary, not of the model.
RECORDS = ("P1-05.complete",)


def _each(names: str, *experiments: str) -> tuple[str, ...]:
    """The same criteria of several experiments."""
    return tuple(f"{experiment}.{name}" for experiment in experiments for name in names.split())


MINED = ("P7-01", "P7-02", "P7-03")
DICTIONARIES = ("P2-02", "P2-03", "P2-04")

CLAIMS = (
    # What the answers are
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
        name="follows-exact-sensitivity",
        title="Answers change with A as the exact inverse does",
        kind=CAUSAL,
        evidence=("P3-01.answers_follow_exact_sensitivity", "P3-01.score_follows_exact_sensitivity"),
        sentence="""The Jacobian of the sampled answers by A has cosine
        {{ n("P3-01.answers_follow_exact_sensitivity.cosine", ".2f") }} to the exact one and
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
    # Phase 1: the landscape
    Claim(
        name="points-home",
        title="Around the answer the gradient points to it, and sees the problem",
        kind=DESCRIPTIVE,
        evidence=("P1-02.points_to_the_answer", "P1-02.sees_the_problem"),
        sentence="""One noise radius away the cosine to the answer is {{ i("P1-02.headline", ".2f") }} at k = 0. The
        score error is {{ n("P1-02.sees_the_problem.ratio", ".2f") }} of that of the best multiple of the
        state, which never sees A.""",
    ),
    Claim(
        name="wrong-answers-cost-more",
        title="Other problems' answers have higher energy than the right one, at k = 0",
        kind=DESCRIPTIVE,
        evidence=("P1-04.wrong_answers_cost_more",),
        sentence="""Other problems' answers cost more in {{ p("P1-04.wrong_answers_cost_more.rate") }} of pairs, with an
        untrained network in {{ p("P1-04.wrong_answers_cost_more.untrained") }}.""",
        sanity=("P6-03: energy ranks states",),
    ),
    Claim(
        name="bowl-of-noise",
        title="At noised answers the sharpest landscape is a bowl, nearer to the ideal one than before training",
        kind=DESCRIPTIVE,
        evidence=(
            "P1-01.closer_to_the_bowl_than_untrained",
            "P1-03.curved_upwards_at_noise",
            "P1-03.nearer_to_the_ideal_than_untrained",
            "P1-04.convex_at_the_noise",
        ),
        sentence="""At k = 0 {{ p("P1-03.curved_upwards_at_noise.share", ".1%") }} of the Hessian's eigenvalues are
        negative and {{ p("P1-04.convex_at_the_noise.share") }} of segments convex (untrained:
        {{ p("P1-04.convex_at_the_noise.untrained") }}); mean curvature × σ is {{ i("P1-03.headline", ".2f") }},
        ideally 1.""",
    ),
    Claim(
        name="curvature-follows-problem",
        title="The curvature follows A²",
        kind=CORRELATIONAL,
        evidence=("P1-03.curvature_knows_the_problem",),
        sentence="""The traceless part of the Hessian has cosine
        {{ n("P1-03.curvature_knows_the_problem.cosine", ".2f") }} to that of A² ⊗ I, an untrained network's
        {{ n("P1-03.curvature_knows_the_problem.untrained", ".2f") }}.""",
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
        sentence="""The nearest minimum is {{ n("P1-04.bottom_at_the_answer.distance", ".2g") }} noise radii from the
        answer and the lowest one in {{ p("P1-04.no_lower_minimum.share") }} of problems;
        {{ i("P1-04.headline", ".2g") }} minima are found a problem, and
        {{ p("P1-01.answer_lowest_in_its_slice.share") }} of a random slice lies below the answer.""",
    ),
    # Phase 2: sparse features
    Claim(
        name="sparse-gaps",
        title="A few dozen sparse features keep the energy gaps, in every layer",
        kind=CAUSAL,
        evidence=_each("gap_recovered", *DICTIONARIES),
        sentence="""With a dictionary in the layer's place {{ p("P2-02.gap") }}, {{ p("P2-03.gap") }} and
        {{ p("P2-04.gap", ".1%") }} of the gaps are left in fc1, fc2 and fc3 ({{ n("P2-02.l0", ".0f") }},
        {{ n("P2-03.l0", ".0f") }} and {{ n("P2-04.l0", ".0f") }} features active; asked: 90 %).""",
        seeds=("P6-01: gap",),
        sanity=(
            "P6-03: dictionary of fc1",
            "P6-03: dictionary of fc2",
            "P6-03: dictionary of fc3",
            "P6-03.dictionaries_decay",
        ),
        transfer=("P6-04: recovers",),
    ),
    Claim(
        name="sparse-score",
        title="They keep the score as well, so one dictionary can be worked with",
        kind=CAUSAL,
        evidence=(
            *_each("score_recovered", *DICTIONARIES),
            *_each("operating_point_fc1 operating_point_fc2 operating_point_fc3", "P2-05"),
        ),
        sentence="""Of the score beyond what needs no A {{ n("P2-02.score", ".2f") }}, {{ n("P2-03.score", ".2f") }} and
        {{ n("P2-04.score", ".2f") }} is left in fc1, fc2 and fc3 (1 is all, negative worse than the best
        multiple of the state, which never sees A); {{ n("P2-05.headline", ".0f") }} of three layers have a dictionary that keeps 0.9 of
        both.""",
        seeds=("P6-01: score", "P6-01: downwards score"),
    ),
    Claim(
        name="features-are-its-own",
        title="Sparse features are the network's own: other seeds find the same ones",
        kind=CORRELATIONAL,
        evidence=(*_each("stable_over_seeds", *DICTIONARIES), "P6-01.features_match_beyond_chance"),
        sentence="""Features of dictionaries with other seeds match with cosine
        {{ n("P2-02.stable_over_seeds.cosine", ".2f") }}, {{ n("P2-03.stable_over_seeds.cosine", ".2f") }} and
        {{ n("P2-04.stable_over_seeds.cosine", ".2f") }}, random dictionaries of the same covariance
        {{ n("P2-02.stable_over_seeds.null", ".2f") }}, {{ n("P2-03.stable_over_seeds.null", ".2f") }} and
        {{ n("P2-04.stable_over_seeds.null", ".2f") }}.""",
    ),
    Claim(
        name="features-in-words",
        title="When a feature fires can be said in a short rule",
        kind=CORRELATIONAL,
        evidence=("P2-06.rules_hold_on_new_problems", "P2-06.rules_beat_random_directions"),
        sentence="""On new problems the rules of the weakest layer have a mean AUROC of
        {{ n("P2-06.rules_hold_on_new_problems.mean", ".2f") }}; less that of random directions that fire as often
        it is {{ n("P2-06.rules_beat_random_directions.mean", "+.2f") }}, in the layer where that is least.""",
        transfer=("P6-04: fires",),
    ),
    Claim(
        name="feature-attribution",
        title="What a feature does can be read from gradient × activation",
        kind=CAUSAL,
        evidence=("P2-06.attribution_agrees_with_ablation",),
        sentence="""Rank correlation with ablation in the weakest layer: {{ i("P2-06.headline", ".2f") }}.""",
    ),
    Claim(
        name="features-beat-neurons",
        title="Features follow properties of the matrix better than neurons do",
        kind=CORRELATIONAL,
        evidence=_each("fc1_says_more_than_neurons fc2_says_more_than_neurons fc3_says_more_than_neurons", "P2-07"),
        sentence="""Held-out rank correlation, best feature less best neuron: {{ i("P2-07.headline", ".2f") }} on average.
        Features are ahead for {{ n("P2-07.fc1_says_more_than_neurons.properties", ".0f") }},
        {{ n("P2-07.fc2_says_more_than_neurons.properties", ".0f") }} and
        {{ n("P2-07.fc3_says_more_than_neurons.properties", ".0f") }} properties in fc1, fc2 and fc3.""",
        transfer=("P6-04: means",),
    ),
    Claim(
        name="features-correlate",
        title="Some sparse feature correlates with a property of the matrix",
        kind=CORRELATIONAL,
        evidence=("P2-07.some_feature_survives",),
        sentence="""{{ n("P2-07.some_feature_survives.surviving", ".0f") }} of
        {{ n("P2-07.some_feature_survives.tests", ".0f") }} tests survive correction.""",
        transfer=("P6-04: means",),
    ),
    # Phase 3: attribution, concepts, directions, causes
    Claim(
        name="concepts-readable",
        title="Concepts can be read from the layers better than from the input, and the energy "
        "changes along some more than along random vectors",
        kind=CORRELATIONAL,
        evidence=_each(
            "fc1_concept_above_random fc2_concept_above_random fc3_concept_above_random more_than_input_and_untrained",
            "P3-02",
        ),
        sentence="""Held-out AUROC of {{ n("P3-02.concepts_are_told_apart.cavs", ".0f") }} concept vectors:
        {{ i("P3-02.headline", ".2f") }}; {{ n("P3-02.more_than_input_and_untrained.both", ".0f") }} of them say
        more than the raw input and an untrained network. Along
        {{ n("P3-02.fc1_concept_above_random.by_mean", ".0f") }},
        {{ n("P3-02.fc2_concept_above_random.by_mean", ".0f") }} and
        {{ n("P3-02.fc3_concept_above_random.by_mean", ".0f") }} in fc1, fc2 and fc3 the energy changes more than along random
        ones (in an untrained network {{ n("P3-02.fc1_concept_above_random.untrained_by_mean", ".0f") }},
        {{ n("P3-02.fc2_concept_above_random.untrained_by_mean", ".0f") }} and
        {{ n("P3-02.fc3_concept_above_random.untrained_by_mean", ".0f") }}).""",
        seeds=("P6-01: read",),
        sanity=("P6-03: concepts in fc1", "P6-03: concepts in fc2", "P6-03: concepts in fc3", "P6-03.concepts_decay"),
    ),
    Claim(
        name="concepts-distinct",
        title="Each concept vector tells its own concept apart from the others",
        kind=CORRELATIONAL,
        evidence=("P3-02.concepts_are_told_apart",),
        sentence="""{{ n("P3-02.concepts_are_told_apart.apart", ".0f") }} of
        {{ n("P3-02.concepts_are_told_apart.cavs", ".0f") }} do; most were asked for.""",
    ),
    Claim(
        name="few-gradient-directions",
        title="The gradient keeps to a few directions that mean something",
        kind=CORRELATIONAL,
        evidence=_each("some_component_is_real subspace_is_stable follows_exact_sensitivity", "P3-03"),
        sentence="""At k = 0 the components capture {{ i("P3-03.headline", ".2f") }} times the sensitivity that random
        ones do; halves of the problems give spans {{ n("P3-03.subspace_is_stable.median", ".0f") }}° apart.""",
        sanity=("P6-03: gradient keeps to few directions",),
    ),
    Claim(
        name="directions-are-causal",
        title="Directions that were found move the answers more than random ones",
        kind=CAUSAL,
        evidence=("P3-04.moves_more_than_random", "P3-05.directions_are_causal"),
        sentence="""{{ n("P3-04.moves_more_than_random.beyond", ".0f") }} of
        {{ n("P3-04.moves_more_than_random.directions", ".0f") }} do (share {{ i("P3-05.headline", ".2f") }});
        {{ n("P3-04.moves_more_than_random.beyond_covariance", ".0f") }} more than directions of the
        activations' own covariance, by their p-value alone; random draws pass in
        {{ p("P3-05.directions_are_causal.of_random") }}.""",
        seeds=(
            "P6-01: moved concept",
            "P6-01: moved attribution",
            "P6-01: moved feature",
            "P6-01.robust_beyond_random_directions",
        ),
        transfer=("P6-04: acts",),
    ),
    Claim(
        name="concept-mediates",
        title="Some concept direction moves its own property, and some carries part of its effect",
        kind=CAUSAL,
        evidence=("P3-04.concept_moves_its_property", "P3-05.some_concept_mediates"),
        sentence="""{{ n("P3-04.concept_moves_its_property.moving", ".0f") }} of
        {{ n("P3-04.concept_moves_its_property.concepts", ".0f") }} concept directions move their property
        beyond random draws, and {{ n("P3-05.some_concept_mediates.mediating", ".0f") }} of
        {{ n("P3-05.some_concept_mediates.of", ".0f") }} carry part of its effect (of the covariance's own
        directions {{ n("P3-05.some_concept_mediates.of_covariance", ".2g") }} would).""",
        seeds=("P6-01: carried concept",),
        sanity=("P6-03: near singular raises answers",),
        transfer=("P6-04: acts",),
    ),
    Claim(
        name="concepts-specific",
        title="Concept directions change their own property more than any other",
        kind=CAUSAL,
        evidence=("P3-05.specific",),
        sentence="""{{ n("P3-05.specific.specific", ".0f") }} of {{ n("P3-05.specific.of", ".0f") }} that move their
        property do.""",
    ),
    # Phase 4: the manifold
    Claim(
        name="answers-definite",
        title="Answers keep to the cone of positive matrices beyond what their errors explain",
        kind=DESCRIPTIVE,
        evidence=_each("samples_are_spd nearer_to_the_cone_than_noise closer_than_noise", "P4-01"),
        sentence="""{{ p("P4-01.samples_are_spd.share", ".1%") }} of the answers are positive definite (as large errors
        without direction would leave {{ p("P4-01.definite.trained.noise") }}); they are nearer to the truth
        than such noise in {{ p("P4-01.closer_than_noise.nearer") }} of pairs, by affine-invariant
        distance.""",
        sanity=("P6-03: answers are definite beyond noise",),
    ),
    Claim(
        name="energy-knows-manifold",
        title="The energy is shaped by the manifold of positive matrices",
        kind=DESCRIPTIVE,
        evidence=_each(
            "better_conditioned_on_manifold geodesically_convex_rather_than_euclidean lower_along_geodesics", "P4-02"
        ),
        sentence="""In the affine-invariant metric log₁₀ of the Hessian's condition number falls by
        {{ i("P4-02.headline", ".2f") }} (positive is better). Geodesics are lower than straight lines in
        {{ p("P4-02.lower_along_geodesics.trained") }} of cases, curves bent as much at random in
        {{ p("P4-02.lower_along_geodesics.turned") }}.""",
    ),
    Claim(
        name="eigenvalues-first",
        title="The descent settles eigenvalues before eigenvectors",
        kind=DESCRIPTIVE,
        evidence=_each("eigenvalues_first spectrum_before_directions gradient_sees_eigenvalues", "P4-03"),
        sentence="""The error's eigenvalue part halves {{ n("P4-03.eigenvalues_first.difference", "+.2g") }} steps after
        the eigenvector part (negative: before), the spectrum itself
        {{ n("P4-03.spectrum_before_directions.difference", "+.2g") }} steps after the directions.""",
    ),
    Claim(
        name="errors-in-eigenvalues",
        title="The final error is no isotropic noise: most of it touches the direction of the inverse's largest eigenvalue",
        kind=DESCRIPTIVE,
        evidence=_each("not_isotropic largest_dominates", "P4-03"),
        sentence="""The eigenvalue share of the error is {{ i("P4-03.headline", ".2f") }} (isotropic noise:
        {{ n("P4-03.largest_dominates.isotropic", ".2f") }}); {{ p("P4-03.largest_dominates.share") }} lies in the row
        and column of the inverse's largest eigenvalue, in its eigenbasis.""",
        sanity=("P6-03: errors lie in eigenvalues",),
    ),
    Claim(
        name="transport",
        title="Optimal transport describes how answers come about",
        kind=DESCRIPTIVE,
        evidence=_each("path_is_straight transport_explains_energy_best", "P4-04"),
        sentence="""The cloud of estimates takes a path of straightness at least {{ n("P4-04.path_is_straight.low", ".2f") }}
        (lower end; 1 is straight, 0.9 was asked for). Energy and Bures cost have rank correlation
        {{ i("P4-04.headline", ".2f") }}, above plain distance's by
        {{ n("P4-04.transport_explains_energy_best.margin_over_L2.low", ".2g") }} at least (lower end).""",
    ),
    Claim(
        name="answers-differ-as-distribution",
        title="Along the principal axes of true inverses the answers are differently distributed",
        kind=DESCRIPTIVE,
        evidence=("P4-04.sampled_differs_from_true",),
        sentence="""There W₂ is {{ n("P4-04.sampled_differs_from_true.distance", ".2g") }}, two draws of true inverses stay
        below {{ n("P4-04.sampled_differs_from_true.high", ".2g") }}. That sees no difference and shows no
        sameness: between spectra W₂ is {{ n("P4-04.Euclidean.spectra", ".2g") }} times that of two draws.""",
    ),
    # Phase 5: layers
    Claim(
        name="depth-makes-linear",
        title="In fc3 properties of the inverse are more linear than in fc1, in functions of the "
        "input and in an untrained network",
        kind=CORRELATIONAL,
        evidence=_each("rises_with_depth_beyond_controls selective inverse_is_linear_somewhere", "P5-01"),
        sentence="""{{ n("P5-01.rises_with_depth_beyond_controls.beyond", ".0f") }} of
        {{ n("P5-01.rises_with_depth_beyond_controls.of", ".0f") }} properties rise beyond every control; R² of
        log λ_min is {{ n("P5-01.r2.fc3.smallest_eigenvalue", ".2f") }} in fc3,
        {{ n("P5-01.r2.given.smallest_eigenvalue", ".2f") }} in [A, A², y].""",
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
        evidence=_each("gradients_keep_their_size no_dead_units", "P5-02"),
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
        least.""",
    ),
    Claim(
        name="constant-and-ripple",
        title="f is a constant with a ripple: the score goes through its constant part",
        kind=DESCRIPTIVE,
        evidence=("P5-02.score_through_the_constant",),
        sentence="""The part of the score that does is {{ p("P5-02.score_through_the_constant.least") }} of it in the
        landscape where that is least (above 100 % where the other parts point against it).""",
        sanity=("P6-03: gaps lie along the constant of f",),
    ),
    Claim(
        name="layer-order",
        title="fc1, fc2, fc3 matter in an order on which kinds of ablation agree",
        kind=CAUSAL,
        evidence=_each("every_layer_is_nonlinear ranking_agrees_across_ablations ranking_holds_over_halves", "P5-03"),
        sentence="""A linear map in place of fc1, fc2, fc3 adds {{ n("P5-03.every_layer_is_nonlinear.fc1") }},
        {{ n("P5-03.every_layer_is_nonlinear.fc2") }}, {{ n("P5-03.every_layer_is_nonlinear.fc3") }} to an MSE of
        {{ n("P5-03.mse.whole") }}. Kendall's W by order, score and MSE:
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
        evidence=_each("graph_is_sparser_than_chance few_outputs_carry_the_gap", "P5-04"),
        sentence="""The share of sources that a target needs, less that of the nearest control:
        {{ i("P5-04.headline", ".3f") }}; {{ p("P5-04.few_outputs_carry_the_gap.share") }} of the outputs carry
        80 % of the gap.""",
    ),
    Claim(
        name="outputs-are-parts",
        title="Outputs of f stand for entries or eigen-directions of the inverse",
        kind=DESCRIPTIVE,
        evidence=_each("outputs_are_entries gap_follows_eigen_directions", "P5-04"),
        sentence="""The share of an output's gap that its own coordinate makes is
        {{ n("P5-04.outputs_are_entries.share", ".2f") }}; less that in turned coordinates
        {{ n("P5-04.outputs_are_entries.beside", "+.2g") }}.""",
    ),
    # Phase 6: doubts
    Claim(
        name="robust-over-networks",
        title="Findings hold in other networks, and random directions' do not",
        kind=DESCRIPTIVE,
        evidence=_each("most_findings_robust effects_keep_sign robust_beyond_random_directions", "P6-01"),
        sentence="""{{ i("P6-01.headline", ".2f") }} of {{ n("P6-01.most_findings_robust.claimed", ".0f") }} claimed
        findings are robust, {{ p("P6-01.robust_beyond_random_directions.random") }} of random directions.""",
        over_seeds=True,
        sanity=None,
    ),
    Claim(
        name="influence",
        title="Influence functions say which training problems an answer rests on",
        kind=CAUSAL,
        evidence=_each("lds_above_zero beats_gradient_similarity removal_hurts_more_than_random", "P6-02"),
        sentence="""In small networks of its own (n = 4). Rank correlation with real retraining (LDS):
        {{ i("P6-02.headline", ".2f") }}, gradient cosines {{ n("P6-02.lds.score_error.cosine", ".2f") }}, the most
        that perfect influences could have, given the noise of retraining,
        {{ n("P6-02.ceiling.score_error", ".2f") }}. Without the most helpful 5 % the error rises by
        {{ p("P6-02.removal_hurts_more_than_random.difference") }} of its mean more than without random ones.""",
        sanity=None,
    ),
    Claim(
        name="attributions-depend-on-weights",
        title="Attributions depend on what was learned",
        kind=CAUSAL,
        evidence=("P6-03.attributions_decay",),
        sentence="""After the cascade of fresh weights their rank correlation is at most
        {{ n("P6-03.attributions_decay.likeness", ".2f") }}.""",
        sanity=None,
    ),
    Claim(
        name="findings-are-sane",
        title="More than 70 % of finding × sanity check survive",
        kind=DESCRIPTIVE,
        evidence=("P6-03.most_findings_survive",),
        sentence="""{{ i("P6-03.headline", ".2f") }} of {{ n("P6-03.most_findings_survive.cells", ".0f") }} cells do.""",
        sanity=None,
    ),
    Claim(
        name="transfers",
        title="Findings hold on problems unlike those of training",
        kind=DESCRIPTIVE,
        evidence=_each("transfers transfers_beyond_chance", "P6-04"),
        sentence="""Transfer score {{ i("P6-04.headline", ".2f") }}, chance
        {{ n("P6-04.transfers_beyond_chance.chance", ".2f") }}, a fresh draw of the training distribution
        {{ n("P6-04.transfers.ceiling", ".2f") }}; 0.6 was asked for.""",
        transfer=None,
        sanity=None,
    ),
    Claim(
        name="energy-warns",
        title="The energy warns of problems unlike those of training",
        kind=DESCRIPTIVE,
        evidence=("P6-04.energy_detects_shift",),
        sentence="""It does better than what A alone tells in {{ n("P6-04.energy_detects_shift.count", ".0f") }} of
        {{ n("P6-04.energy_detects_shift.of", ".0f") }} families.""",
        transfer=None,
        sanity=None,
    ),
    # Phase 7: negatives
    Claim(
        name="descent-helps",
        title="Descending each landscape improves on denoising alone, whatever the negatives",
        kind=CAUSAL,
        evidence=_each("descent_helps", *MINED),
        sentence="""The descent changes the error by {{ n("P7-01.descent_helps.difference", "+.2g") }} without,
        {{ n("P7-02.descent_helps.difference", "+.2g") }} with random and
        {{ n("P7-03.descent_helps.difference", "+.2g") }} with adversarial negatives (negative is better).""",
        over_seeds=True,
        sanity=None,
    ),
    Claim(
        name="beats-linear-however-mined",
        title="Without, with random and with adversarial negatives the answers beat least squares",
        kind=DESCRIPTIVE,
        evidence=_each("beats_least_squares", *MINED, "P7-04"),
        sentence="""Sampled error {{ i("P7-01.headline") }} without, {{ i("P7-02.headline") }} with random,
        {{ i("P7-03.headline") }} with adversarial negatives; least squares
        {{ n("SETUP-2.mse.test.least_squares") }}.""",
        over_seeds=True,
        transfer=_each("harder_beats_least_squares", *MINED),
        sanity=("P6-03: answers beat least squares",),
    ),
    Claim(
        name="mining-helps",
        title="Negatives make sampled answers better",
        kind=CAUSAL,
        evidence=("P7-04.mining_helps",),
        sentence="""Relative change of the sampled error with adversarial negatives: {{ i("P7-04.headline", ".0%") }};
        p = {{ n("P7-04.mining_helps.adversarial.p", ".2g") }} once corrected over the kinds.""",
        over_seeds=True,
        sanity=None,
        transfer=("P7-04.mining_helps_harder",),
    ),
    Claim(
        name="mining-helps-denoising",
        title="Negatives make denoising alone better",
        kind=CAUSAL,
        evidence=("P7-04.mining_helps_without_descent",),
        sentence="""Adversarial negatives change it by
        {{ n("P7-04.mining_helps_without_descent.adversarial.difference", "+.2g") }}
        (p = {{ n("P7-04.mining_helps_without_descent.adversarial.p", ".2g") }}).""",
        over_seeds=True,
        sanity=None,
    ),
    Claim(
        name="minima-come-nearer",
        title="Some kind of negatives brings the minimum nearer to the answer",
        kind=CAUSAL,
        evidence=("P7-04.minima_come_nearer",),
        sentence="""Adversarial negatives move it by {{ n("P7-04.minima_come_nearer.adversarial.difference", "+.2g") }}
        noise radii (p = {{ n("P7-04.minima_come_nearer.adversarial.p", ".2g") }}), random ones by
        {{ n("P7-04.minima_come_nearer.random.difference", "+.2g") }}
        (p = {{ n("P7-04.minima_come_nearer.random.p", ".2g") }}).""",
        over_seeds=True,
        sanity=None,
    ),
    Claim(
        name="landscapes-sharpen",
        title="Negatives sharpen the landscape at the answer",
        kind=CAUSAL,
        evidence=("P7-04.landscapes_sharpen",),
        sentence="""Curvature × σ changes by {{ n("P7-04.landscapes_sharpen.adversarial.difference", "+.2g") }} with
        adversarial negatives (p = {{ n("P7-04.landscapes_sharpen.adversarial.p", ".2g") }}).""",
        over_seeds=True,
        sanity=None,
    ),
    Claim(
        name="inside-persists",
        title="What is found inside changes no more with the negatives than with another seed",
        kind=DESCRIPTIVE,
        evidence=("P7-04.findings_persist",),
        sentence="""Consistency with the model without negatives is
        {{ n("P7-04.findings_persist.adversarial.score", ".2f") }} for adversarial ones, between seeds
        {{ n("P7-04.findings_persist.between_seeds", ".2f") }}.""",
        over_seeds=True,
        sanity=("P7-04.told_apart",),
    ),
    Claim(
        name="structure-is-missing",
        title="An energy of matrix products is more accurate than the best network",
        kind=DESCRIPTIVE,
        evidence=("P7-04.products_beat_networks",),
        sentence="""Their sampled errors are below the best network's by
        {{ n("P7-04.products_beat_networks.polynomial.test.difference", ".2g") }} and
        {{ n("P7-04.products_beat_networks.product.test.difference", ".2g") }}, on harder problems by
        {{ n("P7-04.products_beat_networks.polynomial.harder.difference", ".2g") }} and
        {{ n("P7-04.products_beat_networks.product.harder.difference", ".2g") }}: relative to no negatives
        {{ n("P7-04.polynomial.mse.relative", "+.2%") }} and {{ n("P7-04.product.mse.relative", "+.2%") }}. They differ from
        the networks in recipe and number of weights too.""",
        over_seeds=True,
        sanity=None,
    ),
)

PHASES = {  # what each phase asks
    0: "A model is trained, and every instrument is held to answers that are known before it is used.",
    1: "What does the energy look like, and is the answer where it is lowest?",
    2: "Can the layers be written as few features out of many, and do these mean anything?",
    3: "What do energy and answers depend on, which concepts are directions, and which of them cause what?",
    4: "Inverses are positive definite: do the answers, the energy and the descent know?",
    5: "What does each layer add, and what is the energy composed of?",
    6: "Which findings hold in other networks, survive sanity checks, and transfer?",
    7: "What do negatives change, and what would serve better?",
}
# For the first screen, in this order.
HIGHLIGHTS = (
    "more-than-linear",
    "follows-exact-sensitivity",
    "bottom-at-answer",
    "features-are-its-own",
    "concept-mediates",
    "transfers",
    "mining-helps",
    "structure-is-missing",
)
# The answer in a sentence: what holds is said ("perhaps" with low confidence), what does not is denied, what is
# open is left out.
ANSWER = """
{%- if stands("more-than-linear") is none and not divided("more-than-linear") -%}
  Nobody knows yet: the experiments that would tell are missing.
{%- else -%}
  {%- if stands("more-than-linear") -%}
    {{ (perhaps("more-than-linear") ~ "more")|capitalize }} than an affine map of A
  {%- elif divided("more-than-linear") -%}
    In some respects more than an affine map of A, in others not
  {%- else -%}
    Hardly more than an affine map of A
  {%- endif -%}
  {%- if stands("follows-exact-sensitivity") %}: its answers {{ perhaps("follows-exact-sensitivity") }}change with A as
    the exact inverse does{% endif -%}.
  {%- if stands("bottom-at-answer") is not none %} What it knows is
    {% if stands("bottom-at-answer") %}in minima that {{ perhaps("bottom-at-answer") }}lie at the answers
    {%- else %}{{ "in the directions of its gradients and " if stands("points-home") }}not in minima at the answers
    {%- endif -%}.
  {%- endif -%}
  {%- if stands("features-are-its-own") is not none or stands("concept-mediates") is not none %} Inside
    {%- if stands("features-are-its-own") is not none %} there are
      {% if stands("features-are-its-own") %}{{ perhaps("features-are-its-own") -}} sparse features of its own
      {%- else %}no sparse features that other seeds find beyond chance{% endif -%}
    {%- endif -%}
    {%- if stands("concept-mediates") %}{{ ", but" if stands("features-are-its-own") is not none else " are" }}
    {{ perhaps("concept-mediates") }}concept directions that carry part of what they are named after{% endif -%}
    {%- if stands("concept-mediates") is sameas false and stands("features-are-its-own") is none %} no concept
    direction both moves and carries what it is named after{% endif -%}.
  {%- endif -%}
  {%- if stands("transfers") is not none or divided("transfers") %} What is found {{ perhaps("transfers") -}}
    {{ "holds in part" if divided("transfers") else "holds" if stands("transfers") else "does not hold" }} on other
    kinds of problems.{% endif -%}
  {%- if stands("structure-is-missing") %} An energy that can multiply matrices {{ perhaps("structure-is-missing") }}
    does far better.{% endif -%}
  {%- set open = [] -%}
  {%- for name, question in (
    ("bottom-at-answer", "whether its minima lie at the answers"),
    ("features-are-its-own", "whether its sparse features are its own"),
    ("concept-mediates", "whether concept directions carry what they are named after"),
  ) -%}
    {%- if divided(name) %}{% set _ = open.append(question) %}{% endif -%}
  {%- endfor -%}
  {%- if open %} Evidence is divided on {{ open|join(", and on ") }}.{% endif -%}
{%- endif -%}
"""
