"""Training by IRED's recipe (SETUP-3), watched on validation problems and resumed where it was cut; its verdicts.

Heavy imports wait until there is work to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

    from ired.instruments.accuracy.metrics import Accuracy
    from ired.instruments.statistics.intervals import Interval
    from ired.lab.run import Run
    from ired.lab.tracking.result import Result
    from ired.model.protocol import Energy


def given_model(run: Run, energy: Energy) -> tuple[Energy, dict[str, Any]] | None:
    """The model that the project keeps for this run or that was handed in, with its provenance; None where one has to
    be trained. energy: of the same shape, untrained."""
    from ired.model import checkpoint

    params = run.params
    kept = None if params.retrain or params.checkpoint else run.kept()
    if not (params.checkpoint or kept):
        return None
    path, provenance = kept or (params.checkpoint, {"checkpoint": params.checkpoint})
    print(f"  takes {path}, trained for {provenance.get('steps', 'an unknown number of')} steps")
    return checkpoint.load_energy(path, run.device, like=energy), provenance


def log_model(run: Run, model: Energy, provenance: dict[str, Any]) -> None:
    """The model as a file that later experiments load, and where it comes from."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from ired.model import checkpoint

    run.json("training", provenance)
    run.metrics({"trained_steps": provenance.get("steps", 0)})
    with TemporaryDirectory(prefix="ired-") as folder:
        path = Path(folder) / "model.safetensors"
        checkpoint.save_energy(path, model)
        run.file(path)
        run.file(path.with_suffix(".json"))


def train_energy(
    run: Run,
    energy: Energy,
    A: Tensor,
    reference_errors: DataFrame,
    sampled: Callable[[Energy, Tensor], Tensor],
    mse: Callable[[Energy, str], Interval],
) -> tuple[Energy, dict[str, Any]]:
    """Train an energy by the profile's recipe and log its curves, measured on validation problems A (B, n, n).

    reference_errors: mean squared errors of the predictors, families by rows; sampled(model, A) and
    mse(model, family) say how answers are sampled and judged. Returns the averaged model and its provenance:
    recipe, curve, and the errors of the weights that training ended with.
    """
    from dataclasses import asdict, replace

    import pandas

    from ired.instruments.accuracy import figures, learning_curve
    from ired.model import problems
    from ired.model.energies.architectures import trained
    from ired.model.training.graph_trainer import trainer
    from ired.model.training.trainer import LOSSES, TrainingConfig

    params = run.params
    config = TrainingConfig(c=run.profile.problem.c, **trained(run.variant, run.profile.training))
    options = {name: getattr(params, name) for name in ("steps", "learning_rate", "batch", "precision")}
    config = replace(config, **{name: value for name, value in options.items() if value})
    training = trainer(energy, config, run.seed, run.device)
    A = A.to(run.device)
    Y = problems.inverse(A)

    def observe(model):
        batch = (x.float() for x in (A, Y, sampled(model, A)))
        return learning_curve.snapshot(model, *batch, problems.generator(run.seed, "curve", run.device))

    end = min(params.until or config.steps, config.steps)
    folder = run.workdir(
        "ired.model.training.trainer",
        "ired.model.training.graph_trainer",
        "ired.instruments.accuracy.learning_curve",
        ignoring=("until", "retrain", "checkpoint"),
        goes_on=end < config.steps,
    )
    with run.progress(end, f"training, {run.variant}") as bar:
        curve = training.complete(
            folder / "training.safetensors",
            observe,
            lambda steps, losses: bar.update(steps, denoising=losses[0]),
            until=end,
        )
    curves = pandas.DataFrame(curve)
    losses = pandas.DataFrame(learning_curve.smooth(training.history, LOSSES))
    for name, table in (("curves", curves), ("losses", losses)):
        run.table(name, table)
        points = table.set_index("step")
        run.series({f"{name}.{column}": list(points[column].items()) for column in points})
    run.figure(
        "learning_curves",
        figures.plot_learning_curves(
            curves, losses, reference_errors.loc["validation", ["mean", "least_squares"]].to_dict()
        ),
        "Averaged weights on 256 validation problems; losses are running means. Dashed: reference "
        "predictors. E, ‖∇E‖ and the gap together show a score that dies, if it does.",
    )
    return training.average, {
        "steps": training.step,
        "training": asdict(config),
        "model": training.average.describe(),
        "seed": run.seed,
        "device": run.device,
        "curve": curve,
        "at_the_end": {family: asdict(mse(training.model, family)) for family in ("test", "harder")},
    }


def baseline_verdicts(
    measured: Mapping[str, Accuracy], inner_steps: int, references: Result, at_the_end: Mapping[str, Any]
) -> dict[str, tuple[bool, dict[str, float]]]:
    """SETUP-3's criteria and the numbers behind them.

    measured: by family, at so many inner steps; references: the run of SETUP-2, with the predictors' errors on the
    same problems; at_the_end: the interval of the weights that training ended with on the test set, empty where
    these were not kept.
    """
    from ired.instruments.statistics.intervals import paired_interval

    decided, rivals = {}, references.tensors("errors")
    means = references.table("predictors").set_index(["family", "predictor"])["mse"]
    # Is it better than predictors that know less?
    for name, family, rival in (
        ("beats_mean", "test", "mean"),
        ("beats_least_squares", "test", "least_squares"),
        ("harder_beats_least_squares", "harder", "least_squares"),
    ):
        difference = paired_interval(measured[family].errors[inner_steps], rivals[f"{family}.{rival}"])
        numbers = difference.row("difference") | {"rival": means[family, rival]}
        decided[name] = (difference.high < 0, numbers)
    recovered, averaged = measured["test"].recovered, measured["test"].mse[inner_steps]
    decided["more_than_affine"] = (recovered.low > 0.05, {"recovered": recovered.estimate, "low": recovered.low})
    # Does the average stand for the weights themselves?
    ends = {name: at_the_end[name] for name in ("estimate", "low", "high") if at_the_end}
    overlap = bool(ends) and averaged.low <= ends["high"] and ends["low"] <= averaged.high
    return decided | {"average_agrees": (overlap, {"averaged": averaged.estimate} | ends)}
