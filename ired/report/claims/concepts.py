"""Claims of phase 3: attribution, concept activation vectors, interventions and causal mediation."""

from __future__ import annotations

from ired.report.confidence import CAUSAL, CORRELATIONAL, Claim, criteria_of

CLAIMS = (
    Claim(
        name="concepts-readable",
        title="Concepts can be read from the layers better than from the input, and the energy "
        "changes along some more than along random vectors",
        kind=CORRELATIONAL,
        evidence=criteria_of(
            "fc1_concept_above_random fc2_concept_above_random fc3_concept_above_random more_than_input_and_untrained "
            "beyond_controls",
            "P3-02",
        ),
        sentence="""Held-out AUROC of {{ n("P3-02.concepts_are_told_apart.cavs", ".0f") }} concept vectors:
        {{ i("P3-02.headline", ".2f") }}; {{ n("P3-02.more_than_input_and_untrained.both", ".0f") }} of them say
        more than the raw input and an untrained network. Properties of the problem are read with
        {{ n("P3-02.auroc.trained", ".2f") }} (affine denoiser {{ n("P3-02.auroc.affine", ".2f") }}, regression network
        {{ n("P3-02.auroc.regression", ".2f") }}, untrained network {{ n("P3-02.auroc.untrained", ".2f") }}). Along
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
        evidence=criteria_of(
            "some_component_is_real subspace_is_stable follows_exact_sensitivity beyond_controls", "P3-03"
        ),
        sentence="""At k = 0 the components capture {{ i("P3-03.headline", ".2f") }} times the sensitivity that random
        ones do (as many of the affine denoiser {{ n("P3-03.captured.affine", ".2f") }}, of the regression network
        {{ n("P3-03.captured.regression", ".2f") }}); halves of the problems give spans {{ n("P3-03.subspace_is_stable.median", ".0f") }}° apart.""",
        sanity=("P6-03: gradient keeps to few directions",),
    ),
    Claim(
        name="directions-are-causal",
        title="Directions that were found move the answers more than random ones",
        kind=CAUSAL,
        evidence=("P3-04.moves_more_than_random", "P3-04.beyond_controls", "P3-05.directions_are_causal"),
        sentence="""{{ n("P3-04.moves_more_than_random.beyond", ".0f") }} of
        {{ n("P3-04.moves_more_than_random.directions", ".0f") }} do (share {{ i("P3-05.headline", ".2f") }});
        {{ n("P3-04.moves_more_than_random.beyond_covariance", ".0f") }} more than directions of the
        activations' own covariance, by their p-value alone; random draws pass in
        {{ p("P3-05.directions_are_causal.of_random") }}. Pushes of the state shift entries of answers by
        {{ n("P3-04.state.beyond.trained", ".2g") }} more than random ones do (affine denoiser
        {{ n("P3-04.state.beyond.affine", ".2g") }}, regression network
        {{ n("P3-04.state.beyond.regression", ".2g") }}).""",
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
)
