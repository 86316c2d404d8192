"""Known answers of sanity checks: a map that ignores the network, an affine model, a blind energy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ired.instruments.accuracy import linear_surrogate
from ired.instruments.core import states as points
from ired.instruments.core.check import Check, compare
from ired.instruments.core.random_directions import normal
from ired.instruments.core.reference_energies import References
from ired.instruments.core.states import array, symmetric
from ired.instruments.eigen_decomposition.eigen_split import Frame
from ired.instruments.geometry import answer_errors
from ired.instruments.layers.known_answers_ablation import background_problems
from ired.instruments.sanity import findings_answers, findings_geometry, randomisation, survival_table
from ired.instruments.sanity.findings_answers import Networks
from ired.instruments.sanity.randomisation import Altered, Left
from ired.instruments.sanity.survival_table import FAILED, NEITHER, SURVIVED, SurvivalCell

COUNT = 40  # problems of planted data


def edge_detector(A: Tensor) -> Tensor:
    """An edge detector (P, n, n): differences of neighbouring entries of A, whatever the network."""
    across = A - A.roll(1, 2)
    return across + across.mT


def cascade(count: int = 3) -> list[Altered]:
    """The places of a cascade with `count` draws, without networks."""
    return [Altered("cascade", step, i, None) for step, _ in randomisation.steps("cascade") for i in range(count)]


def _symmetric(count: int, n: int, generator: torch.Generator) -> Tensor:
    z = normal(count, n, n, generator=generator)
    return z + z.mT


def check_sanity(generator: torch.Generator) -> list[Check]:
    """Maps that ignore the network do not decay, unrelated ones do, and the table knows them apart."""
    name, n = "sanity", 8
    A, places = _symmetric(COUNT, n, generator), cascade()
    rows = randomisation.map_decay("edges", edge_detector(A), [(place, edge_detector(A)) for place in places])
    same = Left.of(rows, "edges, signed rank")
    other = randomisation.map_decay("noise", A, [(place, _symmetric(COUNT, n, generator)) for place in places])
    null = other[(other["order"] == randomisation.NULL) & (other["measure"] == "noise, signed rank")]
    lost = Left.of(other, "noise, signed rank")
    # Of r independent ranks the correlation has variance 1/(r − 1); 40 problems, 3 pairs of networks.
    error = (n * (n + 1) / 2 - 1) ** -0.5 / (3 * COUNT) ** 0.5
    checks = [
        Check(
            name, "likeness of an edge detector to itself", expected=1, measured=same.likeness.estimate, tolerance=1e-12
        ),
        Check(
            name, "whether an edge detector is said to decay", expected=0, measured=float(same.decayed()), tolerance=0
        ),
        Check(
            name, "whether unrelated maps are said to decay", expected=1, measured=float(lost.decayed()), tolerance=0
        ),
        Check(name, "rank correlation of random maps", expected=0, measured=null["value"].mean(), tolerance=4 * error),
        compare(name, "SSIM of equal maps", expected=1, measured=array(randomisation.ssim(A, 3 * A)), tolerance=1e-12),
        Check(
            name,
            "whether opposite maps are alike",
            expected=1,
            measured=float((randomisation.ssim(A, -A) < 0).all()),
            tolerance=0,
        ),
    ]
    x = normal(COUNT, 5, generator=generator) @ normal(5, 5, generator=generator)
    drawn = torch.cat([randomisation.gaussian_like(x, generator) for _ in range(400)])
    size = float(torch.cov(x.mT).norm())
    error_of_covariance = float((torch.cov(drawn.mT) - torch.cov(x.mT)).norm()) / size
    checks.append(
        Check(
            name,
            "covariance of Gaussian data of equal covariance",
            expected=0,
            measured=error_of_covariance,
            tolerance=0.1,
        )
    )
    return checks + _table(generator)


def _table(generator: torch.Generator) -> list[Check]:
    """Cells that are to survive, to fail, and not to apply."""
    name = "sanity_table"
    whole = 1 + 0.2 * array(normal(COUNT, generator=generator))
    small = 0.2 * array(normal(COUNT, generator=generator))
    cells = [
        SurvivalCell("real", "weights", whole, small),
        SurvivalCell("real", "linear", whole, whole - 0.5),
        SurvivalCell("edges", "weights", whole, whole),
        SurvivalCell("edges", "linear", whole, small - small.mean()),
        SurvivalCell("absent", "weights", small - small.mean(), small),
        SurvivalCell("absent", "linear", small - small.mean(), small),
    ]
    sources = dict.fromkeys(("real", "edges", "absent"), "planted")
    reasons = {(f, c): "planted" for f in sources for c in survival_table.CHECKS}
    table = survival_table.survival_table(cells, sources, reasons)
    expected = {"real": SURVIVED, "edges": FAILED, "absent": NEITHER}
    right = [
        survival_table.cell_verdict(table, finding, check) == verdict
        for finding, verdict in expected.items()
        for check in ("weights", "linear")
    ]
    rest = table[(table["finding"] == "edges") & (table["check"] == "weights")]["rest"].iloc[0]
    return [
        Check(
            name,
            "share of planted cells with the right verdict",
            expected=1,
            measured=float(np.mean(right)),
            tolerance=0,
        ),
        Check(name, "what random weights leave of an edge detector", expected=1, measured=float(rest), tolerance=1e-12),
        Check(name, "share that survived", expected=0.5, measured=survival_table.survived(table).estimate, tolerance=0),
    ]


def check_surrogate(references: References, generator: torch.Generator) -> list[Check]:
    """An affine model is an affine map, and nothing of it is left; the exact inverse is more."""
    name, ideal, n = "surrogate", references.ideal, references.A.shape[-1]
    half = n * (n + 1) // 2  # features of A: every fold's map is fitted to more problems than it has
    R = 2 * torch.rand(20 * COUNT + half, n, n, generator=generator, dtype=torch.float64) - 1
    A = 2 * R @ R.mT + 0.5 * torch.eye(n, dtype=torch.float64)
    y0, fold = points.answers(ideal, A), linear_surrogate.alternating_folds(len(A))
    upper = linear_surrogate.surrogate_features(A, "A")
    # The affine map nearest to the inverse: where it is not found, what is left of it is like the rest.
    around = upper - upper.mean(0)
    W = torch.linalg.lstsq(around, ideal.coordinates.to_basis(y0)).solution
    affine = ideal.coordinates.from_basis(around @ W + 1)
    quadratic = ideal.coordinates.to_basis((A @ A).flatten(1))
    explained = linear_surrogate.Explained.of(upper, ideal.coordinates.to_basis(affine), fold)
    noise = normal(len(A), 6, generator=generator)
    table = linear_surrogate.explained_shares({"A²": quadratic, "noise": noise}, A)
    share = table.set_index(["what", "features"])["share"]
    few = slice(0, 2 * COUNT + 2 * half)
    start = points.noise(ideal, few.stop, generator=generator, like=A)

    def finding(answers: Tensor):
        def given(energy, A, start):
            return answers[few]

        return findings_answers.answers_follow(ideal, given, A[few], y0=y0[few], start=start)

    cells = {
        what: next(
            c for c in finding(v).cells(Networks(ideal, [ideal], ideal, ideal), generator) if c.check == "linear"
        )
        for what, v in (("affine", affine), ("inverse", y0))
    }
    y = findings_answers.states_between_answers(ideal, y0[few], k=0, count=12, generator=generator)
    # Answers that are noise: good ones may rank a dozen states just as the true one does.
    near, far = (array(linear_surrogate.answer_distances(ideal, y, v, 0)) for v in (3 * start, y0[few]))
    linear, true = linear_surrogate.ordering(near, far, near), linear_surrogate.ordering(far, far, near)
    return [
        Check(name, "share of an affine model", expected=1, measured=explained.share().estimate, tolerance=1e-9),
        compare(
            name, "what is left of it", expected=0, measured=array(explained.left) / float(affine.std()), tolerance=1e-5
        ),
        Check(name, "share of A² that a map of [A, A²] has", expected=1, measured=share["A²", "A, A²"], tolerance=1e-9),
        Check(name, "whether a map of A has less", expected=1, measured=float(share["A²", "A"] < 0.99), tolerance=0),
        Check(name, "share of noise", expected=0, measured=share["noise", "A"], tolerance=0.15),
        compare(name, "an affine model's answers beyond it", expected=0, measured=cells["affine"].left, tolerance=1e-6),
        Check(
            name,
            "whether the inverse is more",
            expected=1,
            measured=float(cells["inverse"].left.mean() > 0.05),
            tolerance=0,
        ),
        compare(name, "ranks of a surrogate beyond it", expected=0, measured=linear.left, tolerance=1e-6),
        compare(name, "ranks by the true distance beyond it", expected=1, measured=true.left, tolerance=1e-6),
    ]


def check_sanity_findings(references: References, generator: torch.Generator) -> list[Check]:
    """Findings about the ideal energy are there in full, and gone in an energy that does not see A."""
    name, ideal = "sanity_findings", references.ideal
    # Ranks of a dozen states by an energy that is blind say much of a single problem by chance.
    A = torch.cat([references.A, background_problems(references.A, COUNT, generator)])
    size = ideal.coordinates.size
    blind = references.planted(torch.ones(size, dtype=torch.float64, device=A.device))
    y0, start = points.answers(ideal, A), points.noise(ideal, len(A), generator=generator, like=A)
    y = points.noised(ideal, y0, k=0, count=1, generator=generator)[0][:, 0]

    def exact(energy, A, start):
        return points.answers(ideal, A) if energy is ideal else start

    networks = Networks(ideal, [blind], ideal, blind)
    checks = []
    states = findings_answers.states_between_answers(ideal, y0, k=0, count=12, generator=generator)
    for finding in (
        findings_answers.answers_follow(ideal, exact, A, y0=y0, start=start),
        findings_answers.answers_turn(ideal, exact, A, start=start, count=4, generator=generator),
        findings_answers.score_turns(ideal, A, y, ((0, 0), (0, 1))),
        findings_answers.energy_ranks(ideal, A, y0=y0, y=states, affine=y0.roll(1, 0)),
    ):
        agreement = finding.agree(finding.see(ideal), finding.known)
        checks.append(
            Check(
                name,
                f"{finding.name}, of the ideal energy",
                expected=1,
                measured=float(agreement.mean()),
                tolerance=2e-4,
            )
        )
        if finding.name != "score follows the exact gradient":  # a blind energy has no gradient by A
            left = {
                c.check: c.left for c in networks.cells(finding.name, lambda e, f=finding: f.agree(f.see(e), f.known))
            }
            checks.append(
                Check(
                    name,
                    f"{finding.name}, mean of a blind one",
                    expected=0,
                    measured=float(left["weights"].mean()),
                    tolerance=0.75,
                )
            )
    return checks + _later(name, generator)


def _later(name: str, generator: torch.Generator) -> list[Check]:
    """Findings of Phases 4 and 5 on planted data: there in full, and at their zero."""
    n, size = 4, 6
    R = 2 * torch.rand(6 * COUNT, n, n, generator=generator, dtype=torch.float64, device=generator.device) - 1
    Y = symmetric(torch.linalg.inv(2 * R @ R.mT + 0.5 * torch.eye(n).to(R)))
    noise = symmetric(normal(33, *Y.shape, generator=generator))
    kept = findings_geometry.definite_beyond(1.6 * Y, Y, noise[1:])
    lost = findings_geometry.definite_beyond(answer_errors.matched_noise(Y, 1.6 * Y, noise[0]), Y, noise[1:])
    D, frame = Y @ Y, Frame.of(Y)
    on = findings_geometry.in_eigenvalues(D, frame)
    off = findings_geometry.in_eigenvalues(noise[0], frame)
    outputs = torch.eye(size).to(R)[0] * (1 + normal(COUNT, 5, 1, generator=generator))
    outputs[:, 0] = outputs[:1, 0]
    other = findings_geometry.along_axis(outputs, torch.eye(size).to(R)[1])
    many = 20 * COUNT
    x, v = normal(many, 3, generator=generator), normal(many, 1, generator=generator)
    fold = linear_surrogate.alternating_folds(many)
    read = [findings_geometry.read_share(inputs, v, fold) for inputs in (torch.cat([x, v], 1), x)]
    return [
        Check(
            name,
            "whether definite answers are told from noise",
            expected=1,
            measured=float(kept.mean() > 0.25),
            tolerance=0,
        ),
        Check(name, "definiteness of noise beyond noise", expected=0, measured=float(lost.mean()), tolerance=0.15),
        compare(
            name,
            "errors of a function of the inverse, in eigenvalues",
            expected=1,
            measured=on + array(frame.random_basis(D)),
            tolerance=1e-9,
        ),
        Check(name, "isotropic errors, in eigenvalues", expected=0, measured=float(off.mean()), tolerance=0.08),
        compare(
            name,
            "gaps along the only output",
            expected=1,
            measured=findings_geometry.along_axis(outputs),
            tolerance=1e-9,
        ),
        compare(name, "gaps along another output", expected=-1 / (size - 1), measured=other, tolerance=1e-9),
        Check(
            name, "R² of a value that is among the features", expected=1, measured=float(read[0].mean()), tolerance=1e-3
        ),
        Check(name, "R² of noise", expected=0, measured=float(read[1].mean()), tolerance=0.2),
    ]
