"""Claims of phase 4, on the SPD manifold: geodesics, eigen-decomposition, optimal transport."""

from __future__ import annotations

from ired.report.confidence import DESCRIPTIVE, Claim, criteria_of

CLAIMS = (
    Claim(
        name="answers-definite",
        title="Answers keep to the cone of positive matrices beyond what their errors explain",
        kind=DESCRIPTIVE,
        evidence=criteria_of(
            "samples_are_spd nearer_to_the_cone_than_noise closer_than_noise beyond_controls", "P4-01"
        ),
        sentence="""{{ p("P4-01.samples_are_spd.share", ".1%") }} of the answers are positive definite (as large errors
        without direction would leave {{ p("P4-01.definite.trained.noise") }}; affine denoiser
        {{ p("P4-01.definite.affine") }}, regression network {{ p("P4-01.definite.regression") }}); they are nearer
        to the truth than such noise in {{ p("P4-01.closer_than_noise.nearer") }} of pairs, by affine-invariant
        distance. The affine denoiser is in {{ p("P4-01.nearer.affine") }}, the regression network in
        {{ p("P4-01.nearer.regression") }}; with errors as large as the model's in
        {{ p("P4-01.at_size.affine") }} and {{ p("P4-01.at_size.regression") }}.""",
        sanity=("P6-03: answers are definite beyond noise",),
    ),
    Claim(
        name="energy-knows-manifold",
        title="The energy is shaped by the manifold of positive matrices",
        kind=DESCRIPTIVE,
        evidence=criteria_of(
            "better_conditioned_on_manifold geodesically_convex_rather_than_euclidean lower_along_geodesics "
            "beyond_controls",
            "P4-02",
        ),
        sentence="""In the affine-invariant metric log₁₀ of the Hessian's condition number falls by
        {{ i("P4-02.headline", ".2f") }} (positive is better; affine denoiser
        {{ n("P4-02.better_conditioned_on_manifold.affine", ".2f") }}, regression network
        {{ n("P4-02.better_conditioned_on_manifold.regression", ".2f") }}). Geodesics are lower than straight lines in
        {{ p("P4-02.lower_along_geodesics.trained") }} of cases, curves bent as much at random in
        {{ p("P4-02.lower_along_geodesics.turned") }}; on the affine denoiser in
        {{ p("P4-02.lower_along_geodesics.affine") }}, on the regression network in
        {{ p("P4-02.lower_along_geodesics.regression") }}.""",
    ),
    Claim(
        name="eigenvalues-first",
        title="The descent settles eigenvalues before eigenvectors",
        kind=DESCRIPTIVE,
        evidence=criteria_of("eigenvalues_first spectrum_before_directions gradient_sees_eigenvalues", "P4-03"),
        sentence="""The error's eigenvalue part halves {{ n("P4-03.eigenvalues_first.difference", "+.2g") }} steps after
        the eigenvector part (negative: before), the spectrum itself
        {{ n("P4-03.spectrum_before_directions.difference", "+.2g") }} steps after the directions. Bowls around an
        answer have it at once: there the eigenvalue part halves {{ n("P4-03.later.affine", "+.2g") }} steps after the
        eigenvector part (affine denoiser) and {{ n("P4-03.later.regression", "+.2g") }} (regression network).""",
    ),
    Claim(
        name="errors-in-eigenvalues",
        title="The final error is no isotropic noise: most of it touches the direction of the inverse's largest eigenvalue",
        kind=DESCRIPTIVE,
        evidence=criteria_of("not_isotropic largest_dominates beyond_controls", "P4-03"),
        sentence="""The eigenvalue share of the error is {{ i("P4-03.headline", ".2f") }} (isotropic noise:
        {{ n("P4-03.largest_dominates.isotropic", ".2f") }}, affine denoiser {{ n("P4-03.affine.share", ".2f") }},
        regression network {{ n("P4-03.regression.share", ".2f") }}); {{ p("P4-03.largest_dominates.share") }} lies in
        the row and column of the inverse's largest eigenvalue, in its eigenbasis (affine denoiser
        {{ p("P4-03.affine.touching") }}, regression network {{ p("P4-03.regression.touching") }}).""",
        sanity=("P6-03: errors lie in eigenvalues",),
    ),
    Claim(
        name="transport",
        title="Optimal transport describes how answers come about",
        kind=DESCRIPTIVE,
        evidence=criteria_of("path_is_straight transport_explains_energy_best beyond_controls", "P4-04"),
        sentence="""The cloud of estimates takes a path of straightness at least {{ n("P4-04.path_is_straight.low", ".2f") }}
        (lower end; 1 is straight, 0.9 was asked for). Energy and Bures cost have rank correlation
        {{ i("P4-04.headline", ".2f") }}, above plain distance's by
        {{ n("P4-04.transport_explains_energy_best.margin_over_L2.low", ".2g") }} at least (lower end). Bowls around
        the answer of least squares have {{ n("P4-04.bures.affine", ".2f") }} (above plain distance's by
        {{ n("P4-04.bures_beyond_L2.affine", ".2g") }}), around a regression network's
        {{ n("P4-04.bures.regression", ".2f") }} ({{ n("P4-04.bures_beyond_L2.regression", ".2g") }}).""",
    ),
    Claim(
        name="answers-differ-as-distribution",
        title="Along the principal axes of true inverses the answers are differently distributed",
        kind=DESCRIPTIVE,
        evidence=("P4-04.sampled_differs_from_true",),
        sentence="""There W₂ is {{ n("P4-04.sampled_differs_from_true.distance", ".2g") }}, two draws of true inverses stay
        below {{ n("P4-04.sampled_differs_from_true.high", ".2g") }}. That sees no difference and shows no
        sameness: between spectra W₂ is {{ n("P4-04.Euclidean.spectra", ".2g") }} times that of two draws (affine
        denoiser {{ n("P4-04.affine.Euclidean.spectra", ".2g") }}, regression network
        {{ n("P4-04.regression.Euclidean.spectra", ".2g") }}).""",
    ),
)
