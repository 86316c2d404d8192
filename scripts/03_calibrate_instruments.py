"""SETUP-4: are the instruments right where the answer is known?

Every instrument is pointed at energies whose landscapes are known in closed form (the ideal
denoiser's, ½‖AY − I‖², a double well, planted quadratics) and at planted data, in the coordinates of
the profile and in raw ones. An instrument that misses a known answer must not be believed about a
trained model: the run fails, with the instrument's name and the two numbers.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

INSTRUMENTS = """
    statistics slices field hessian minima predictors sampling_path
    affine_score hessian_spread denoising_loss error_bars
    dictionary splice features correlation
    attribution concepts active_subspace interventions causality counterfactuals
    spd_laws spd_answers geodesics riemannian tangent eigenparts eigenswap
    transport transport_answers transport_path transport_energy
    probes gradient_flow jacobians score_paths unit_census
    layer_ablation layer_ranking energy_terms composition
    surrogate sanity sanity_findings sanity_table shift transfer
    influence datamodel robustness robustness_score
    comparison consistency equivariance
""".split()


@command(
    "SETUP-4",
    problems=Param(6, tiny=3, help="problems that the instruments are tried on"),
    criteria=dict.fromkeys(INSTRUMENTS, "every known answer is recovered within tolerance"),
)
def main(run):
    import torch

    from ired.instruments.calibration import figures, registry, study
    from ired.instruments.core.reference_energies import References
    from ired.model import problems
    from ired.model.coordinates import Coordinates
    from ired.model.energies.mlp import EnergyConfig
    from ired.model.reference import AlgebraicEnergy, DoubleWell, IdealEnergy, Quadratic
    from ired.model.schedule import Schedule

    config = EnergyConfig.for_problems(**run.profile.problem, **run.profile.model)
    n, schedule = config.n, Schedule(config.landscapes)
    A = problems.draw(
        run.params.problems,
        n,
        run.profile.problem.c,
        problems.generator(0, "calibration"),
        torch.float64,
    ).to(run.device)
    run.dataset(f"calibration n={n}", problems.problem_digest(A), "calibration", "ired.model.problems.draw")
    settings = {
        "as in the profile": Coordinates(n, config.shift, config.scale, config.symmetric),
        "raw": Coordinates(n),
    }

    def streams(purpose):
        return lambda phase: problems.generator(0, f"{purpose}, {phase}")

    answers = {}
    for setting, coordinates in settings.items():
        references = References(
            ideal=IdealEnergy(coordinates, schedule),
            algebraic=AlgebraicEnergy(coordinates, schedule),
            well=DoubleWell(Coordinates(2, symmetric=coordinates.symmetric), schedule),
            quadratic=lambda H, centre, c=coordinates: Quadratic(c, schedule, H, centre),
            A=A,
        )
        answers[setting] = registry.on_energies(references, streams(setting))
    answers["planted data"] = registry.on_planted_data(streams("planted"))
    table = study.checks(answers)
    run.table("checks", table)
    run.figure(
        "calibration",
        figures.plot_calibration(table),
        "Known answers, each as the part of its tolerance that the measured error takes up.",
    )
    for name, (met, numbers) in study.calibration_verdicts(table).items():
        run.criterion(name, met, **numbers)
    run.headline("known answers recovered", table.passed.mean())
    study.demand_all(answers)


if __name__ == "__main__":
    main()
