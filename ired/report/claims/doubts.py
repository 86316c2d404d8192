"""Claims of phase 6: robustness over networks, influence functions, sanity checks, transfer."""

from __future__ import annotations

from ired.report.confidence import CAUSAL, DESCRIPTIVE, Claim, criteria_of

CLAIMS = (
    Claim(
        name="robust-over-networks",
        title="Findings hold in other networks, and random directions' do not",
        kind=DESCRIPTIVE,
        evidence=criteria_of("most_findings_robust effects_keep_sign robust_beyond_random_directions", "P6-01"),
        sentence="""{{ i("P6-01.headline", ".2f") }} of {{ n("P6-01.most_findings_robust.claimed", ".0f") }} claimed
        findings are robust, {{ p("P6-01.robust_beyond_random_directions.random") }} of random directions.""",
        over_seeds=True,
        sanity=None,
    ),
    Claim(
        name="influence",
        title="Influence functions say which training problems an answer rests on",
        kind=CAUSAL,
        evidence=criteria_of("lds_above_zero beats_gradient_similarity removal_hurts_more_than_random", "P6-02"),
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
        evidence=criteria_of("transfers transfers_beyond_chance", "P6-04"),
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
)
