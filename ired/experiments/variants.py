"""Models of every variant and seed, measured alike on common fresh problems: what P7-04 compares.

Heavy imports wait until there is work to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ired.experiments.mining import recipe

if TYPE_CHECKING:
    from pandas import DataFrame

    from ired.instruments.comparison.representation import Fingerprint
    from ired.lab.run import Run

# Of `ired.model.shifted_problems`, by names that a metric may have.
FAMILIES = {
    "κ 100–300": "kappa_100_300",
    "κ 300–1000": "kappa_300_1000",
    "rank n−1, 0.02": "near_singular",
    "noise 0.8c": "noise",
    "smaller": "smaller",
}
SETS = ("test", "harder")
RIVALS = ("mean", "least_squares", "least_squares_squared")

Model = tuple[str, int]  # variant and seed


@dataclass(frozen=True)
class MeasuredModels:
    """By model: numbers (metric → value), taken (fingerprints), recipes, runs (ids of SETUP-3's).

    networks: variants with the published network; others: of other energies; beside: fingerprints of
    controls by name; landscapes: a table of each model; families: problems A, inverses Y and starts.
    """

    networks: list[str]
    others: list[str]
    numbers: dict[Model, dict[str, float]]
    taken: dict[Model, Fingerprint]
    beside: dict[str, Fingerprint]
    landscapes: list[DataFrame]
    families: dict[str, tuple]
    recipes: dict[Model, Any]
    runs: dict[Model, str]


def measure_models(run: Run, count: int) -> MeasuredModels:
    """Portraits and fingerprints of all models that a run needs; `count` problems of each shifted
    family, and five times as many of the test and the harder set."""
    import torch

    from ired.instruments.comparison import model_metrics, representation, study
    from ired.model import problems, weight_edits
    from ired.model.checkpoint import load_energy
    from ired.model.energies.architectures import MLP, parse
    from ired.model.reference import reference_panel
    from ired.model.sampling import AnnealedSampler

    n, c = run.profile.problem.n, run.profile.problem.c
    models, sampler = run.upstreams("SETUP-3"), AnnealedSampler(**run.profile.sampling)
    variants = list(dict.fromkeys(variant for variant, _ in models))
    networks = [variant for variant in variants if parse(variant)[0] == MLP]
    sizes = run.profile.sizes
    looked = {"tiny": model_metrics.TINY, "default": model_metrics.PortraitSizes()}.get(sizes, model_metrics.PAPER)
    asked = representation.TINY if sizes == "tiny" else representation.Size()

    def stream(purpose: str) -> torch.Generator:
        return problems.generator(run.seed, f"{run.exp_id} {purpose}")

    def load(model: Model, dtype: torch.dtype = torch.float64) -> Any:
        return load_energy(models[model].path("model.safetensors"), run.device, dtype)

    first = min(model for model in models if model[0] == study.NONE)
    energy = load(first)
    scale = energy.schedule.sqrt_alpha_bar[0].item() if sampler.scaled_output else 1.0
    families = _families(run, energy, count, stream)
    A = problems.draw(looked.problems, n, c, stream("portrait"), torch.float64).to(run.device)
    scene = model_metrics.PortraitScene(families, A, stream, scale)
    B = problems.draw(representation.problems_needed(asked), n, c, stream("fingerprint"), torch.float64).to(run.device)
    ground = representation.ground(energy, B, problems.properties(B), asked, stream("ground"))
    run.dataset(f"{run.exp_id} n={n}", problems.problem_digest(torch.cat([A, B])), "fresh", "ired.model.problems.draw")

    plain = reference_panel(energy, run.seed)
    shuffled = weight_edits.shuffled_weights(energy, stream("shuffled"))
    # The copy is loaded and looked at anew: what is held against itself cannot differ.
    others = {
        study.COPY: load(first),
        study.SHUFFLED: shuffled,
        study.UNTRAINED: plain["untrained"],
        study.IDEAL: plain["ideal"],
    }
    numbers, taken, landscapes = {}, {}, []
    with run.progress(len(models) + len(others), "models") as bar:
        beside = {name: representation.fingerprint(energy, ground, sampler, asked) for name, energy in others.items()}
        untrained = beside[study.UNTRAINED].scalars
        bar.update(len(others))
        for model, source in models.items():
            energy = load(model)
            portrait = model_metrics.take(energy, sampler, scene, looked, bulk=load(model, torch.float32))
            fingerprint = taken[model] = representation.fingerprint(energy, ground, sampler, asked)
            numbers[model] = portrait.numbers | fingerprint.scalars
            numbers[model] |= representation.beyond_untrained(fingerprint.scalars, untrained)
            for family in SETS:  # on all problems of these sets, as SETUP-3 measured it
                for name, steps in (("mse", 10 * sampler.inner_steps), ("mse_denoised", 0)):
                    known = source.metrics[f"mse.{family}.steps_{steps}"]
                    numbers[model][f"accuracy.{name}.{family}"] = known
            landscapes.append(portrait.tables["landscapes"].assign(variant=model[0], seed=model[1]))
            bar.update(1)
    return MeasuredModels(
        networks=networks,
        others=[variant for variant in variants if variant not in networks],
        numbers=numbers,
        taken=taken,
        beside=beside,
        landscapes=landscapes,
        families=families,
        recipes={model: recipe(source) for model, source in models.items()},
        runs={model: source.run_id for model, source in models.items()},
    )


def _families(run: Run, energy: Any, count: int, stream: Any) -> dict[str, tuple]:
    """Problems A, inverses Y and starts of the test and the harder set, and of shifted families."""
    from ired.instruments.core import states
    from ired.model import problems, shifted_problems

    sets = run.upstream("SETUP-2").tensors("problems")
    drawn = {name: sets[f"{name}.A"][: 5 * count] for name in SETS}
    drawn = {name: (A, problems.inverse(A.double())) for name, A in drawn.items()}
    shifts = {name: shifted_problems.SHIFTED[name] for name in FAMILIES}
    problem = run.profile.problem
    for name, family in shifted_problems.draw_families(shifts, count, problem.n, problem.c, stream).items():
        drawn[FAMILIES[name]] = family.A, family.Y
    families = {}
    for name, pair in drawn.items():
        A, Y = (given.double().to(run.device) for given in pair)
        families[name] = A, Y, states.noise(energy, len(A), generator=stream(f"start {name}"), like=A)
    return families


def rivals(run: Run, families: Mapping[str, tuple], count: int) -> DataFrame:
    """Errors of reference predictors as rows family, predictor, mse: SETUP-2's on its sets, and on other
    families those of predictors fitted on `count` training problems."""
    import pandas
    import torch

    from ired.instruments.accuracy import predictors
    from ired.model import problems

    known = run.upstream("SETUP-2").table("predictors")[["family", "predictor", "mse"]]
    A = problems.draw(
        count,
        run.profile.problem.n,
        run.profile.problem.c,
        problems.generator(run.seed, f"{run.exp_id} fitted"),
        torch.float64,
    )
    fitted = predictors.affine_predictors([(A, problems.inverse(A))])
    rows = [
        (family, name, predictor.mse(A, Y).mean().item())
        for family, (A, Y, _) in families.items()
        if family not in SETS
        for name, predictor in fitted.items()
    ]
    every = pandas.concat([known[known["family"].isin(SETS)], pandas.DataFrame(rows, columns=list(known))])
    return every[every["predictor"].isin(RIVALS)].reset_index(drop=True)


def costs(run: Run, variants: Sequence[str], rounds: int, steps: int) -> DataFrame:
    """What a training of each variant costs: rows variant, step_seconds, steps, seconds, ratio (to no
    negatives). Fresh trainings make a few steps in turns, so that a busy machine is busy for all of them; the
    median of `rounds` turns of `steps` steps each, after one that is not counted."""
    import time

    import pandas
    import torch

    from ired.instruments.comparison.study import NONE
    from ired.model.energies.architectures import configured, trained
    from ired.model.training.graph_trainer import trainer
    from ired.model.training.trainer import TrainingConfig

    problem, profile = run.profile.problem, run.profile
    configs = {name: TrainingConfig(c=problem.c, **trained(name, profile.training)) for name in variants}
    trainers = {
        name: trainer(configured(name, problem, profile.model), config, run.seed, run.device)
        for name, config in configs.items()
    }
    taken = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, training in trainers.items():
            start = time.perf_counter()
            training.advance(steps)
            if run.device == "cuda":
                torch.cuda.synchronize()
            if turn:
                taken[name].append((time.perf_counter() - start) / steps)
    table = pandas.DataFrame(
        {
            "variant": list(variants),
            "steps": [configs[name].steps for name in variants],
            "step_seconds": [pandas.Series(taken[name]).median() for name in variants],
        }
    )
    table["seconds"] = table["steps"] * table["step_seconds"]
    return table.assign(ratio=table["seconds"] / table.set_index("variant")["seconds"].get(NONE, float("nan")))
