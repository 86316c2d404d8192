"""Claims of phase 7: negative mining, and energies of matrix products."""

from __future__ import annotations

from ired.report.confidence import CAUSAL, DESCRIPTIVE, Claim, criteria_of

MINED = ("P7-01", "P7-02", "P7-03")

CLAIMS = (
    Claim(
        name="descent-helps",
        title="Descending each landscape improves on denoising alone, whatever the negatives",
        kind=CAUSAL,
        evidence=criteria_of("descent_helps", *MINED),
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
        evidence=criteria_of("beats_least_squares", *MINED, "P7-04"),
        sentence="""Sampled error {{ i("P7-01.headline") }} without, {{ i("P7-02.headline") }} with random,
        {{ i("P7-03.headline") }} with adversarial negatives; least squares
        {{ n("SETUP-2.mse.test.least_squares") }}.""",
        over_seeds=True,
        transfer=criteria_of("harder_beats_least_squares", *MINED),
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
