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
from ired.instruments.layers.known_answers_ablation import background
from ired.instruments.sanity import findings_answers, findings_geometry, randomisation, survival_table
from ired.instruments.sanity.findings_answers import Networks
from ired.instruments.sanity.randomisation import Altered, Left
from ired.instruments.sanity.survival_table import FAILED, NEITHER, SURVIVED, Cell

COUNT = 40  # problems of planted data


def edges(A: Tensor) -> Tensor:
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
    rows = randomisation.map_decay("edges", edges(A), [(own, edges(A)) for own in places])
    same = Left.of(rows, "edges, signed rank")
    other = randomisation.map_decay("noise", A, [(own, _symmetric(COUNT, n, generator)) for own in places])
    null = other[(other["order"] == randomisation.NULL) & (other["measure"] == "noise, signed rank")]
    lost = Left.of(other, "noise, signed rank")
    # Of r independent ranks the correlation has variance 1/(r − 1); 40 problems, 3 pairs of networks.
    error = (n * (n + 1) / 2 - 1) ** -0.5 / (3 * COUNT) ** 0.5
    checks = [
        Check(name, "likeness of an edge detector to itself", 1, same.likeness.estimate, 1e-12),
        Check(name, "whether an edge detector is said to decay", 0, float(same.decayed()), 0),
        Check(name, "whether unrelated maps are said to decay", 1, float(lost.decayed()), 0),
        Check(name, "rank correlation of random maps", 0, null["value"].mean(), 4 * error),
        compare(name, "SSIM of equal maps", 1, array(randomisation.ssim(A, 3 * A)), 1e-12),
        Check(name, "whether opposite maps are alike", 1, float((randomisation.ssim(A, -A) < 0).all()), 0),
    ]
    x = normal(COUNT, 5, generator=generator) @ normal(5, 5, generator=generator)
    drawn = torch.cat([randomisation.gaussian_like(x, generator) for _ in range(400)])
    size = float(torch.cov(x.mT).norm())
    away = float((torch.cov(drawn.mT) - torch.cov(x.mT)).norm()) / size
    checks.append(Check(name, "covariance of Gaussian data of equal covariance", 0, away, 0.1))
    return checks + _table(generator)


def _table(generator: torch.Generator) -> list[Check]:
    """Cells that are to survive, to fail, and not to apply."""
    name = "sanity_table"
    own = 1 + 0.2 * array(normal(COUNT, generator=generator))
    small = 0.2 * array(normal(COUNT, generator=generator))
    cells = [
        Cell("real", "weights", own, small),
        Cell("real", "linear", own, own - 0.5),
        Cell("edges", "weights", own, own),
        Cell("edges", "linear", own, small - small.mean()),
        Cell("absent", "weights", small - small.mean(), small),
        Cell("absent", "linear", small - small.mean(), small),
    ]
    sources = dict.fromkeys(("real", "edges", "absent"), "planted")
    reasons = {(f, c): "planted" for f in sources for c in survival_table.CHECKS}
    table = survival_table.judged(cells, sources, reasons)
    expected = {"real": SURVIVED, "edges": FAILED, "absent": NEITHER}
    seen = [
        survival_table.verdict(table, finding, check) == verdict
        for finding, verdict in expected.items()
        for check in ("weights", "linear")
    ]
    rest = table[(table["finding"] == "edges") & (table["check"] == "weights")]["rest"].iloc[0]
    return [
        Check(name, "share of planted cells with the right verdict", 1, float(np.mean(seen)), 0),
        Check(name, "what random weights leave of an edge detector", 1, float(rest), 1e-12),
        Check(name, "share that survived", 0.5, survival_table.survived(table).estimate, 0),
    ]


def check_surrogate(references: References, generator: torch.Generator) -> list[Check]:
    """An affine model is an affine map, and nothing of it is left; the exact inverse is more."""
    name, ideal, n = "surrogate", references.ideal, references.A.shape[-1]
    half = n * (n + 1) // 2  # features of A: every fold's map is fitted to more problems than it has
    R = 2 * torch.rand(20 * COUNT + half, n, n, generator=generator, dtype=torch.float64) - 1
    A = 2 * R @ R.mT + 0.5 * torch.eye(n, dtype=torch.float64)
    y0, fold = points.answers(ideal, A), linear_surrogate.folds(len(A))
    upper = linear_surrogate.features(A, "A")
    # The affine map nearest to the inverse: where it is not found, what is left of it is like the rest.
    around = upper - upper.mean(0)
    W = torch.linalg.lstsq(around, ideal.coordinates.to_basis(y0)).solution
    affine = ideal.coordinates.from_basis(around @ W + 1)
    quadratic = ideal.coordinates.to_basis((A @ A).flatten(1))
    own = linear_surrogate.Explained.of(upper, ideal.coordinates.to_basis(affine), fold)
    noise = normal(len(A), 6, generator=generator)
    table = linear_surrogate.shares({"A²": quadratic, "noise": noise}, A)
    share = table.set_index(["what", "features"])["share"]
    few = slice(0, 2 * COUNT + 2 * half)
    start = points.noise(ideal, few.stop, generator=generator, like=A)

    def finding(answers: Tensor):
        def given(energy, A, start):
            return answers[few]

        return findings_answers.answers_follow(ideal, given, A[few], y0[few], start)

    cells = {
        what: next(
            c for c in finding(v).cells(Networks(ideal, [ideal], ideal, ideal), generator) if c.check == "linear"
        )
        for what, v in (("affine", affine), ("inverse", y0))
    }
    y = findings_answers.between(ideal, y0[few], 0, 12, generator)
    # Answers that are noise: good ones may rank a dozen states just as the true one does.
    near, far = (array(linear_surrogate.distances(ideal, y, v, 0)) for v in (3 * start, y0[few]))
    linear, true = linear_surrogate.ordering(near, far, near), linear_surrogate.ordering(far, far, near)
    return [
        Check(name, "share of an affine model", 1, own.share().estimate, 1e-9),
        compare(name, "what is left of it", 0, array(own.left) / float(affine.std()), 1e-5),
        Check(name, "share of A² that a map of [A, A²] has", 1, share["A²", "A, A²"], 1e-9),
        Check(name, "whether a map of A has less", 1, float(share["A²", "A"] < 0.99), 0),
        Check(name, "share of noise", 0, share["noise", "A"], 0.15),
        compare(name, "an affine model's answers beyond it", 0, cells["affine"].left, 1e-6),
        Check(name, "whether the inverse is more", 1, float(cells["inverse"].left.mean() > 0.05), 0),
        compare(name, "ranks of a surrogate beyond it", 0, linear.left, 1e-6),
        compare(name, "ranks by the true distance beyond it", 1, true.left, 1e-6),
    ]


def check_sanity_findings(references: References, generator: torch.Generator) -> list[Check]:
    """Findings about the ideal energy are there in full, and gone in an energy that does not see A."""
    name, ideal = "sanity_findings", references.ideal
    # Ranks of a dozen states by an energy that is blind say much of a single problem by chance.
    A = torch.cat([references.A, background(references.A, COUNT, generator)])
    size = ideal.coordinates.size
    blind = references.planted(torch.ones(size, dtype=torch.float64, device=A.device))
    y0, start = points.answers(ideal, A), points.noise(ideal, len(A), generator=generator, like=A)
    y = points.noised(ideal, y0, 0, 1, generator)[0][:, 0]

    def exact(energy, A, start):
        return points.answers(ideal, A) if energy is ideal else start

    networks = Networks(ideal, [blind], ideal, blind)
    checks = []
    states = findings_answers.between(ideal, y0, 0, 12, generator)
    for finding in (
        findings_answers.answers_follow(ideal, exact, A, y0, start),
        findings_answers.answers_turn(ideal, exact, A, start, 4, generator),
        findings_answers.score_turns(ideal, A, y, ((0, 0), (0, 1))),
        findings_answers.energy_ranks(ideal, A, y0, states, y0.roll(1, 0)),
    ):
        own = finding.agree(finding.see(ideal), finding.known)
        checks.append(Check(name, f"{finding.name}, of the ideal energy", 1, float(own.mean()), 2e-4))
        if finding.name != "score follows the exact gradient":  # a blind energy has no gradient by A
            left = {
                c.check: c.left for c in networks.cells(finding.name, lambda e, f=finding: f.agree(f.see(e), f.known))
            }
            checks.append(Check(name, f"{finding.name}, mean of a blind one", 0, float(left["weights"].mean()), 0.75))
    return checks + _later(name, generator)


def _later(name: str, generator: torch.Generator) -> list[Check]:
    """Findings of Phases 4 and 5 on planted data: there in full, and at their zero."""
    n, size = 4, 6
    R = 2 * torch.rand(6 * COUNT, n, n, generator=generator, dtype=torch.float64, device=generator.device) - 1
    Y = symmetric(torch.linalg.inv(2 * R @ R.mT + 0.5 * torch.eye(n).to(R)))
    noise = symmetric(normal(33, *Y.shape, generator=generator))
    kept = findings_geometry.definite_beyond(1.6 * Y, Y, noise[1:])
    lost = findings_geometry.definite_beyond(answer_errors.matched(Y, 1.6 * Y, noise[0]), Y, noise[1:])
    D, frame = Y @ Y, Frame.of(Y)
    on = findings_geometry.in_eigenvalues(D, frame)
    off = findings_geometry.in_eigenvalues(noise[0], frame)
    outputs = torch.eye(size).to(R)[0] * (1 + normal(COUNT, 5, 1, generator=generator))
    outputs[:, 0] = outputs[:1, 0]
    other = findings_geometry.along_axis(outputs, torch.eye(size).to(R)[1])
    many = 20 * COUNT
    x, v = normal(many, 3, generator=generator), normal(many, 1, generator=generator)
    fold = linear_surrogate.folds(many)
    read = [findings_geometry.read_share(some, v, fold) for some in (torch.cat([x, v], 1), x)]
    return [
        Check(name, "whether definite answers are told from noise", 1, float(kept.mean() > 0.25), 0),
        Check(name, "definiteness of noise beyond noise", 0, float(lost.mean()), 0.15),
        compare(
            name, "errors of a function of the inverse, in eigenvalues", 1, on + array(frame.random_basis(D)), 1e-9
        ),
        Check(name, "isotropic errors, in eigenvalues", 0, float(off.mean()), 0.08),
        compare(name, "gaps along the only output", 1, findings_geometry.along_axis(outputs), 1e-9),
        compare(name, "gaps along another output", -1 / (size - 1), other, 1e-9),
        Check(name, "R² of a value that is among the features", 1, float(read[0].mean()), 1e-3),
        Check(name, "R² of noise", 0, float(read[1].mean()), 0.2),
    ]
