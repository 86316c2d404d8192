"""How linear SETUP-3's model is, beside the affine denoiser, a regression network and an untrained network."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

    from ired.lab.run import Run
    from ired.model.energies.architectures import LearnedEnergy

Verdicts = dict[str, tuple[bool, dict[str, float]]]


def log_linearity(run: Run, model: LearnedEnergy) -> Verdicts:
    """Tables, figure and metrics on `linear` fresh problems, Hessians of `bent` of them; the verdicts."""
    from functools import partial

    from ired.experiments.controls import fresh_problems, predictor_energies
    from ired.instruments.linearity import figures, study
    from ired.model import problems
    from ired.model.reference import reference_panel

    stream = partial(problems.generator, run.seed)
    trained = deepcopy(model).double()
    untrained = reference_panel(trained, run.seed)["untrained"]
    energies = {"trained": trained, "untrained": untrained} | predictor_energies(run, trained)
    landscapes = range(trained.schedule.K)
    A = fresh_problems(run, run.params.linear, "linearity")
    with run.progress(len(energies), "linearity, energies") as bar:
        tables = study.linearity_tables(
            energies,
            A,
            landscapes,
            lambda purpose: stream(purpose, run.device),
            bent=run.params.bent,
            done=bar.update,
        )
    for name, table in tables.items():
        run.table(name, table)
    of_model = tables["linearity"].query("energy == 'trained'")
    run.metrics(
        {f"linearity.{row.measure}.k{row.landscape}".replace(" ", "_"): row.value for row in of_model.itertuples()}
    )
    run.figure(
        "linearity",
        figures.plot_energy_linearity(
            tables["linearity"],
            f"Is it anything but a bowl around linear regression? ({run.profile.name}, n = {run.profile.problem.n})",
        ),
        f"By landscape, with 95 % intervals over problems. R² of the score by the best affine map of A and y, on other "
        f"problems than it was fitted to ({len(A)} in all, one noised answer each); dotted: of what y alone leaves. "
        f"Spread of the Hessians of {run.params.bent} problems. Mean curvature; dashed: that of the affine denoiser if "
        "it were equally steep in all directions. Denoising loss over the affine denoiser's, on the same states.",
    )
    return _verdicts(tables["linearity"], tables["denoising_loss"])


def _verdicts(linearity: DataFrame, losses: DataFrame) -> Verdicts:
    from ired.instruments.linearity.study import LOSS

    trained = linearity.query("energy == 'trained'")
    sharpest = trained.query("measure == 'affine' and landscape == 0").iloc[0]
    share = {"share": sharpest.value, "low": sharpest.low, "high": sharpest.high}
    untrained = linearity.query("energy == 'untrained' and measure == 'affine' and landscape == 0").iloc[0]
    share |= {"untrained": untrained.value}
    # Where the model is most surely below the affine denoiser; intervals are corrected for the number of landscapes.
    surest = losses.query("energy == 'trained'").sort_values("difference_high").iloc[0]
    ratio = trained[trained["measure"] == LOSS].set_index("landscape").loc[surest.landscape]
    beaten = {
        "landscape": float(surest.landscape),
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
    }
    beaten |= {"difference": surest.difference, "difference_high": surest.difference_high}
    return {
        "more_than_affine_score": (bool(sharpest.high < 0.95), share),
        "beats_affine_denoiser": (bool(surest.difference_high < 0), beaten),
    }
