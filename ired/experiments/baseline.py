"""Training by IRED's recipe (SETUP-3), watched on validation problems and resumed where it was cut; its verdicts.

Heavy imports wait until there is work to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

    from ired.instruments.accuracy.metrics import Accuracy
    from ired.instruments.statistics.intervals import Interval
    from ired.lab.run import Run
    from ired.lab.tracking.result import Result
    from ired.model.protocol import Energy


@dataclass(frozen=True)
class Answers:
    """What SETUP-3 samples, and how: by the profile's sampler, which stops after landscape `stop_at` of the run.

    sets: problems (N, n, n) by "family.A".
    """

    run: Run
    sets: Mapping[str, Tensor]

    @property
    def inner_steps(self) -> int:
        """Steps of descent in a landscape."""
        return self.run.profile.sampling.inner_steps

    def sampled(self, model: Energy, A: Tensor, inner_steps: int | None = None, stop_at: int | None = None) -> Tensor:
        """Sampled inverses (B, n, n) of problems A (B, n, n)."""
        from ired.model import problems
        from ired.model.sampling import SamplingConfig, solve

        changed = {
            "inner_steps": self.inner_steps if inner_steps is None else inner_steps,
            "stop_at": self.run.params.stop_at if stop_at is None else stop_at,
        }
        start = problems.generator(self.run.seed, "start", self.run.device)
        return solve(model, A, SamplingConfig(**(dict(self.run.profile.sampling) | changed)), start)

    def whole_path_mse(self, model: Energy, family: str) -> Interval:
        """The mean squared error per entry of answers that have passed all landscapes."""
        from ired.instruments.statistics.intervals import mean_interval
        from ired.model import problems

        A = self.sets[f"{family}.A"]
        return mean_interval((self.sampled(model, A, stop_at=0) - problems.inverse(A)).pow(2).mean((-2, -1)))


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
    answers: Answers,
    A: Tensor,
    reference_errors: DataFrame,
) -> tuple[Energy, dict[str, Any]]:
    """Train an energy by the profile's recipe and log its curves, measured on validation problems A (B, n, n).

    reference_errors: mean squared errors of the predictors, families by rows. Returns the averaged model and its
    provenance: recipe, curve, and the errors of the weights that training ended with.
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
        batch = (x.float() for x in (A, Y, answers.sampled(model, A, stop_at=0)))
        return learning_curve.snapshot(model, *batch, problems.generator(run.seed, "curve", run.device))

    end = min(params.until or config.steps, config.steps)
    folder = run.workdir(
        "ired.model.training.trainer",
        "ired.model.training.graph_trainer",
        "ired.instruments.accuracy.learning_curve",
        ignoring=("until", "retrain", "checkpoint", "stop_at", "followed", "starts", "linear", "bent"),
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
        "at_the_end": {family: asdict(answers.whole_path_mse(training.model, family)) for family in ("test", "harder")},
    }


def baseline_verdicts(
    measured: Mapping[str, Accuracy],
    answers: Answers,
    model: Energy,
    references: Result,
    at_the_end: Mapping[str, Any],
) -> dict[str, tuple[bool, dict[str, float]]]:
    """SETUP-3's criteria on its model and the numbers behind them.

    measured: by family; references: the run of SETUP-2, with the predictors' errors on the same problems; at_the_end:
    the interval of the weights that training ended with on the test set, empty where these were not kept.
    """
    from ired.instruments.statistics.intervals import paired_interval

    decided, rivals, inner_steps = {}, references.tensors("errors"), answers.inner_steps
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
    recovered = measured["test"].recovered
    decided["more_than_affine"] = (recovered.low > 0.05, {"recovered": recovered.estimate, "low": recovered.low})
    # Does the average stand for the weights themselves? Both on the whole path.
    stopped = answers.run.params.stop_at
    averaged = answers.whole_path_mse(model, "test") if stopped else measured["test"].mse[inner_steps]
    ends = {name: at_the_end[name] for name in ("estimate", "low", "high") if at_the_end}
    overlap = bool(ends) and averaged.low <= ends["high"] and ends["low"] <= averaged.high
    return decided | {"average_agrees": (overlap, {"averaged": averaged.estimate} | ends)}


def log_sampling_path(
    run: Run, model: Energy, answers: Answers, references: Result
) -> dict[str, tuple[bool, dict[str, float]]]:
    """What the clean estimate is worth stage by stage, and where it would be best to stop; the verdict on that.

    Always of the whole path, from `starts` starts of `followed` test problems. Where to stop is chosen on as many
    validation problems. references: the run of SETUP-2, with the predictors' errors on the same problems.
    """
    from ired.experiments.controls import predictor_energies
    from ired.instruments.accuracy import figures_sampling_path as figures
    from ired.instruments.accuracy.sampling_path import SamplingPath, best_stop, sampling_path
    from ired.instruments.core import states
    from ired.instruments.statistics.tables import stacked
    from ired.model import problems
    from ired.model.reference import reference_panel
    from ired.model.sampling import AnnealedSampler

    sampler, errors = AnnealedSampler(**run.profile.sampling), references.tensors("errors")

    def follow(family: str, energy: Energy, count: int = run.params.followed) -> SamplingPath:
        A = answers.sets[f"{family}.A"][:count].to(run.device)
        stream = problems.generator(run.seed, f"sampling path, {family}", run.device)
        start = states.noise(model, len(A), run.params.starts, generator=stream, like=A.float())
        return sampling_path(energy, sampler, A, start)

    validation, path = (follow(family, model) for family in ("validation", "test"))
    controls = predictor_energies(run, model) | {"untrained": reference_panel(model, run.seed)["untrained"]}
    tables = {"trained": path.error_table()}
    few = -(-run.params.followed // 4)  # problems tell controls' paths, which stand still
    tables |= {name: follow("test", energy, few).error_table() for name, energy in controls.items()}
    stop = best_stop(validation.leaving, path.leaving)
    rivals = {
        name: errors[f"test.{name}"][: len(path.zero)].numpy()
        for name in ("mean", "least_squares", "least_squares_squared", "regression")
    }
    table = stacked(tables, "energy")
    run.table("sampling_path", table)
    run.table("stopped_beside_predictors", path.against(rivals, stop.landscape))
    run.metrics(stop.metrics("stop"))
    run.figure(
        "sampling_path",
        figures.plot_sampling_path(
            table, {name: rivals[name].mean() for name in ("mean", "least_squares_squared")}, stop.landscape
        ),
        f"Squared error of the clean estimate y/√ᾱₖ after every stage, on {len(path.zero)} test problems from "
        f"{run.params.starts} starts each, with 95 % intervals over problems; memory: the share of the error that is "
        f"variance over starts. Where to stop was chosen on {len(validation.zero)} validation problems. "
        f"Beside the model: least squares and a regression network as energies, and an untrained network, on {few} of "
        "these problems. Dotted: predictors on the same problems.",
    )
    k, stage, rise = path.greatest_loss()
    numbers = rise.row("rise") | {"landscape": k, "in_descents": float(stage == "descend")}
    return {"path_keeps_the_answer": (rise.low <= 0, numbers)}
