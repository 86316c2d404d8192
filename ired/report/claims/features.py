"""Claims of phase 2, on sparse autoencoders and their features."""

from __future__ import annotations

from ired.report.confidence import CAUSAL, CORRELATIONAL, Claim, criteria_of

DICTIONARIES = ("P2-02", "P2-03", "P2-04")

CLAIMS = (
    Claim(
        name="sparse-gaps",
        title="A few dozen sparse features keep the energy gaps, in every layer",
        kind=CAUSAL,
        evidence=criteria_of("gap_recovered", *DICTIONARIES),
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
            *criteria_of("score_recovered", *DICTIONARIES),
            *criteria_of("operating_point_fc1 operating_point_fc2 operating_point_fc3", "P2-05"),
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
        evidence=(*criteria_of("stable_over_seeds", *DICTIONARIES), "P6-01.features_match_beyond_chance"),
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
        evidence=criteria_of(
            "fc1_says_more_than_neurons fc2_says_more_than_neurons fc3_says_more_than_neurons", "P2-07"
        ),
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
)
