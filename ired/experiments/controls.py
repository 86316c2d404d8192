"""What a finding about the model is held against: energies of least squares and of a regression network, and more.

Such controls could refute. What an instrument shows on the energy of an affine map, or on that of a network which
answers at once, is no finding about a learned energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ired.instruments.statistics.intervals import Interval
    from ired.lab.run import Run
    from ired.model.protocol import Energy
    from ired.model.reference import PredictorEnergy

    Difference = Callable[[NDArray, NDArray | float, float], Interval]

# The predictor of SETUP-2 that each of them is made of.
CONTROLS = {"affine": "least_squares", "regression": "regression"}
PROBLEMS = 20_000  # whose errors tell how sure a control is


@dataclass(frozen=True)
class Measure:
    """What is asked of the model and of its controls, problem by problem.

    title: in plain words, for tables; values: by energy (P,), of the same problems; higher: whether more of it is what
    a claim says.
    """

    title: str
    values: Mapping[str, NDArray]
    higher: bool = True


def log_controls(run: Run, predictors: Mapping[str, Any]) -> None:
    """SETUP-2's predictors as later experiments need them, with the covariance of their errors on fresh problems."""
    from ired.instruments.accuracy.predictors import error_moment
    from ired.model import problems

    A = fresh_problems(run, PROBLEMS, "controls")
    Y = problems.inverse(A)
    tensors = {}
    for control, name in CONTROLS.items():
        tensors |= {f"{control}.{part}": values for part, values in predictors[name].tensors().items()}
        tensors[f"{control}.errors"] = error_moment(predictors[name], A, Y)
    run.tensors("controls", tensors)


def fresh_problems(run: Run, count: int, purpose: str) -> Tensor:
    """`count` fresh problems (count, n, n) of the training distribution, float64, a stream of their own for each
    purpose."""
    import torch

    from ired.model import problems

    problem, stream = run.profile.problem, problems.generator(run.seed, purpose)
    return problems.draw(count, problem.n, problem.c, stream, dtype=torch.float64).to(run.device)


def panel(run: Run, *controls: str) -> dict[str, Energy]:
    """The "trained" energy of SETUP-3, float64, and what it is held against.

    "untrained", "ideal" and "algebraic" (`ired.model.reference`); "affine": the best denoiser that is affine in A and
    y, "regression": a network that answers at once, both as bowls (`PredictorEnergy`). controls: those that are wanted,
    all by default.
    """
    import torch

    from ired.model.checkpoint import load_energy
    from ired.model.reference import reference_panel

    trained = load_energy(run.upstream("SETUP-3").path("model.safetensors"), run.device, torch.float64)
    energies = {"trained": trained} | reference_panel(trained, run.seed)
    wanted = controls or (*list(energies)[1:], *CONTROLS)
    if set(wanted) & set(CONTROLS):
        energies |= predictor_energies(run, trained)
    return {name: energies[name] for name in ("trained", *wanted)}


def predictor_energies(run: Run, like: Energy) -> dict[str, PredictorEnergy]:
    """SETUP-2's predictors of CONTROLS seen as energies, in the coordinates of another."""
    import torch

    from ired.instruments.accuracy.predictors import Predictor, RegressionNetwork, matrices
    from ired.model.reference import PredictorEnergy

    stored = {name: values.to(run.device) for name, values in run.upstream("SETUP-2").tensors("controls").items()}
    n, coordinates = like.coordinates.n, like.coordinates

    def of(control: str, predict: Callable[[Tensor], Tensor]) -> PredictorEnergy:
        moment = stored[f"{control}.errors"]
        units = matrices(torch.eye(len(moment), dtype=moment.dtype, device=moment.device), n).flatten(-2)
        to_basis = coordinates.to_basis(units) / coordinates.scale
        return PredictorEnergy.with_errors(coordinates, like.schedule, predict, to_basis.mT @ moment @ to_basis)

    affine = Predictor("affine", n, 1, stored["affine.weights"], stored["affine.intercept"])
    network = {name.removeprefix("regression."): v for name, v in stored.items() if name.startswith("regression.")}
    del network["errors"]
    return {
        "affine": of("affine", affine),
        "regression": of("regression", RegressionNetwork.restored(network, torch.float64)),
    }


def log_beside_controls(
    run: Run, *measures: Measure, decides: bool = True, difference: Difference | None = None
) -> None:
    """Every measure on the model and on each control, as a table; the criterion "beyond_controls" on the first.

    It is met where the trained energy has more of it (less, where that is what the claim says) than each of CONTROLS:
    the 95 % intervals of the paired differences, corrected for their number (Bonferroni). decides: whether there is
    such a criterion; without it the table is all, as where a control does not have the first measure, or where it
    could not refute. difference: the interval of the mean of first less second values at a level, `paired_interval`'s
    if not given, for values that are not independent from problem to problem. Raises ValueError where a control lacks
    what is to be decided.
    """
    import pandas

    from ired.instruments.statistics.intervals import mean_interval

    def independent(first: NDArray, second: NDArray | float, level: float) -> Interval:
        return mean_interval(first - second, level)

    of_difference = difference or independent
    rows, decided = [], []
    for measure in measures:
        trained, sign = measure.values["trained"], 1 if measure.higher else -1
        for name, values in measure.values.items():
            row = {"measure": measure.title, "higher": measure.higher, "energy": name}
            row |= of_difference(values, 0.0, 0.95).row("value")
            if name in CONTROLS:
                margin = of_difference(sign * trained, sign * values, 1 - 0.05 / len(CONTROLS))
                row |= margin.columns("margin")
                if measure is measures[0]:
                    decided.append((name, margin))
            rows.append(row)
    run.table("beside_controls", pandas.DataFrame(rows))
    if not decides:
        return
    if {name for name, _ in decided} != set(CONTROLS):
        raise ValueError(f"'{measures[0].title}' is to be decided beside {' and '.join(CONTROLS)}: one has no values")
    numbers = {f"{name}_margin": margin.estimate for name, margin in decided}
    numbers |= {f"{name}_low": margin.low for name, margin in decided}
    run.criterion("beyond_controls", all(margin.low > 0 for _, margin in decided), **numbers)
