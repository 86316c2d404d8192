"""Known answers of activation steering: pushes whose consequences are known, on the ideal energy as a layer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.directions import STATE, Direction
from ired.instruments.core.reference_energies import Layered, References
from ired.instruments.interventions import answer_properties, manifold, pushes
from ired.instruments.interventions.manifold import Nature
from ired.instruments.interventions.pushes import PushScene
from ired.model.protocol import Energy

DOSES = (-2.0, 1.0)
DRAWS = {"random": 2, "covariance": 1, "orthogonal": 1}


def halfway(energy: Energy, A: Tensor, start: Tensor, first: int | None = None, **_: Any) -> Tensor:
    """A sample by one denoising in landscape `first` with half of the score."""
    k = energy.schedule.K - 1 if first is None else first
    score = energy.gradient(energy.prepare(A), start, k)
    clean = start - energy.schedule.at("sigma", k, start) * score / 2
    return clean / energy.schedule.at("sqrt_alpha_bar", k, start)


class _Mediated(Layered):
    """The same layer, of which the energy sees one component only: E = (h·w)²/2σ_k."""

    def __init__(self, inner: Energy, w: Tensor):
        super().__init__(inner)
        self.w = w

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        return super().resume(layer, (h @ self.w)[..., None] * self.w, A, k)

    def energy(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.resume("fc1", self.activations(A, y, k)["fc1"], A, k)

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        h = self.activations(A, y, k)["fc1"] @ self.w
        slope = h / self.schedule.at("sigma", k, y).flatten()
        return slope * h / 2, self.coordinates.from_basis(slope[..., None] * self.w)

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.energy_and_gradient(A, y, k)[1]


def check_interventions(references: References, generator: torch.Generator) -> list[Check]:
    """Moves, edits, ablations, patches on the ideal energy; a planted mediator; what answers carry."""
    name, energy, k = "interventions", Layered(references.ideal), 3
    coordinates, n, size = energy.coordinates, energy.coordinates.n, energy.coordinates.size
    A = references.A
    y0, K = states.answers(energy, A), range(energy.schedule.K)
    noised = states.at_noise(energy, y0, K, generator)
    donor = torch.arange(1, len(A) + 1, device=A.device) % len(A)
    at = PushScene(A=A, y0=y0, noised=noised, entering=noised, donor=donor)
    background = manifold.nature(energy, A.repeat(200, 1, 1), generator)
    v = torch.randn(size, generator=generator, dtype=torch.float64)
    v = (v / v.norm()).to(A)
    state = Direction(
        name="state",
        source="gradient",
        space=STATE,
        landscape=k,
        concept="",
        evidence=0.0,
        measure="",
        vector=coordinates.from_basis(v),
    )
    layer = Direction(
        name="layer",
        source="feature",
        space="fc1",
        landscape=k,
        concept="large_norm",
        evidence=0.0,
        measure="",
        vector=v,
    )

    def responses(energy: Energy, direction: Direction, background: Nature = background):
        return pushes.respond(
            energy,
            [direction],
            at,
            background,
            sampler=halfway,
            doses=DOSES,
            draws=DRAWS,
            generator=generator,
            rows=64,
        )

    sigma, root = (getattr(energy.schedule, w)[k].item() for w in ("sigma", "sqrt_alpha_bar"))
    h = energy.activations(A, noised[k], k)["fc1"]
    along, length = states.array(h @ v), states.array(h.norm(dim=1))
    checks, unit = [], coordinates.scale / (2 * root * n)  # RMS entry per length of a push

    (moves, (spread,)), (edits, (within,)) = responses(energy, state), responses(energy, layer)
    for what, table, s in (("state", moves, spread), ("layer", edits, within)):
        pushed, s = table[table["control"] == "own"], float(s)
        add = pushed[(pushed["edit"] == "add") & (pushed["dose"] != 0)]
        t, p = (add[c].to_numpy() for c in ("dose", "problem"))
        # Moved states leave the answer's energy alone; an edited layer does not, hence no (ts)² there.
        gap = t * s * along[p] + (what == "state") * (t * s) ** 2 / 2
        gap, still = gap / sigma / background.gap[k].item(), pushed[(pushed["edit"] == "add") & (pushed["dose"] == 0)]
        changed = still[["energy", "score", "moved"]].abs().to_numpy()
        checks += [
            compare(name, f"what dose 0 changes, {what}", 0, changed, 0),
            compare(name, f"energy along a direction, {what}", gap, add["energy"], 1e-9),
            compare(name, f"score along it, {what}", (t * s / length[p]) ** 2, add["score"], 1e-9),
            compare(name, f"the answer along it, {what}", abs(t) * s * unit, add["moved"], 1e-9),
        ]
    controls = edits[(edits["edit"] == "add") & (edits["dose"] != 0)]
    checks += [
        compare(name, "the same along every control", abs(controls["dose"]) * within * unit, controls["moved"], 1e-9),
        # The noise has σ_k along every direction; 600 answers tell it to 3 %.
        Check(name, "natural spread over σ_k", expected=1, measured=within / sigma, tolerance=0.15),
        Check(
            name, "mean place of natural answers", expected=0.5, measured=float(still["quantile"].mean()), tolerance=0.4
        ),
    ]

    # What a state is given in place of its component, half of which survives one denoising.
    y = states.array(coordinates.to_basis(noised[k]) @ v)
    mean = manifold.cloud(energy, STATE, k, background).mean[0] @ v
    for edit, value in {"ablate": states.array(mean), "patch": y[states.array(donor)]}.items():
        rows = moves[(moves["edit"] == edit) & (moves["control"] == "own")]
        known = abs(value - y) * unit
        checks.append(compare(name, f"{edit}, the answer, state", known, rows["moved"], 1e-9))

    # The component that another problem has in the same state is another answer away.
    other = root * states.array((y0[donor] - y0) @ coordinates.from_basis(v))
    planted = _Mediated(references.ideal, v)
    table, _ = responses(planted, layer, manifold.nature(planted, A.repeat(200, 1, 1), generator))
    within = table[table["edit"] == "ablate"]
    score = within.loc[within["control"] == "own", "score"]
    checks.append(compare(name, "ablate, score of a planted mediator", 1, score, 1e-9))
    for edit, length in {"ablate": abs(along), "patch": abs(other)}.items():
        rows = table[table["edit"] == edit]
        pushed, beside = (rows[rows["control"] == control] for control in ("own", "orthogonal"))
        checks += [
            compare(name, f"{edit}, a planted mediator", length * unit, pushed["moved"], 1e-9),
            compare(name, f"{edit}, orthogonal to it", 0, beside[["energy", "score", "moved"]], 1e-9),
        ]
    own_donor = replace(at, donor=torch.arange(len(A), device=A.device))
    itself, _ = pushes.respond(
        energy, [layer], own_donor, background, sampler=halfway, doses=DOSES, draws=DRAWS, generator=generator
    )
    same = itself.loc[itself["edit"] == "patch", ["energy", "score", "moved"]]
    checks.append(compare(name, "a patch with a problem's own component", 0, same, 1e-9))

    Y = torch.diag(torch.tensor([1.0, 0.5, 0.25] + [0.25] * (n - 3), dtype=torch.float64))
    norm = math.sqrt(1 + 4 + 16 * (n - 2))
    expected = (math.log(4), math.log(norm), 0.0, 1.0, -2.0, 2.0)
    values = [v.item() for v in answer_properties.answer_properties(Y, Y + 0.1).values()]
    return [*checks, compare(name, "what a known matrix carries", expected, values, 1e-9)]
