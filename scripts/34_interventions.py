"""P3-04: what happens to energy, score and answer when a network is pushed along a direction?

Directions of P3-01 to P3-03 and the strongest features of Phase 2, each by doses of its natural spread:
a state on entering its landscape, a layer in that landscape or in all; or its component ablated, or
patched from another problem (Zhang & Nanda 2024). Sampling goes on from there. Beside every curve the
same displacements along isotropic random directions, along ones of the activations' covariance,
along ones orthogonal to all that were found; and how far edits lead off the manifold (Makelov et al.
2024). Those of the state are pushed in the bowls around least squares and a regression network, too.
Against the directions: random ones of equal norm do as much, or any bowl gives way along them; a
concept's property does not follow its dose; what follows comes from activations that never occur.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

LAYERS = {"fc1": "P2-02", "fc2": "P2-03", "fc3": "P2-04"}


@command(
    "P3-04",
    problems=Param(40, tiny=8, paper=30, gpu=40, help="problems that are sampled (the unit of all intervals)"),
    doses=Param((-2.0, -1.0, 1.0, 2.0), help="doses in natural spreads, as many up as down"),
    features=Param(4, tiny=1, help="features of each layer, by gradient × activation on energy gaps"),
    natural=Param(1200, tiny=160, paper=2400, help="other problems: spreads, covariances, manifold"),
    random=Param(4, tiny=2, help="isotropic random directions beside each"),
    covariance=Param(2, tiny=1, help="random directions of the covariance beside each"),
    orthogonal=Param(1, help="directions orthogonal to all that were found, beside each"),
    panels=Param(24, tiny=3, help="directions of each source that are drawn, at most, by evidence"),
    criteria={
        "moves_more_than_random": "more than half of the directions move the sampled answer, at the "
        "largest doses, more than random ones of equal norm: paired over problems, one-sided 5 % after "
        "Benjamini-Hochberg over directions, and more than each single draw",
        "concept_moves_its_property": "for some concept direction its property's slope over doses is "
        "above 0 and above the steepest random draw's, sign turned to fit: same test and correction",
        "edits_stay_near_manifold": "at the largest doses the median edited activation is less far "
        "than the 99 % quantile of natural Mahalanobis distances: 95 % interval over problems",
        "beyond_controls": "at the largest doses directions of the state move the sampled answer beyond "
        "random ones of equal norm by more than they do in the affine denoiser's and the regression network's "
        "bowls: paired 95 % intervals over problems above 0, Bonferroni over both",
    },
)
def main(run):
    from functools import partial

    import torch

    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.experiments.earlier_results import dictionary_of_run, directions_of_run
    from ired.instruments.core import directions
    from ired.instruments.interventions import figures, manifold, pushes, responses, study
    from ired.instruments.statistics import intervals
    from ired.instruments.statistics.tables import per_unit
    from ired.model import problems
    from ired.model.sampling import AnnealedSampler

    size, energies = run.params, panel(run)
    energy = energies["trained"]
    generator, n, c = problems.generator(run.seed, "interventions"), run.profile.problem.n, run.profile.problem.c
    A = problems.draw(size.problems + size.natural, n, c, generator, torch.float64).to(run.device)
    A, others = A.split([size.problems, size.natural])
    run.dataset(f"P3-04 n={n}", problems.problem_digest(A), "fresh", "ired.model.problems.draw")
    sampler, tried = AnnealedSampler(**run.profile.sampling), []
    background = manifold.nature(energy, others, generator)
    scene = pushes.push_scene(energy, A, sampler, generator)
    for exp_id in ("P3-01", "P3-02", "P3-03"):
        tried += directions_of_run(run, exp_id)
    for layer, exp_id in LAYERS.items():
        dictionary = dictionary_of_run(run, exp_id)
        tried += pushes.strongest_features(energy, layer, dictionary, background, size.features)
    draws = {name: getattr(size, name) for name in pushes.CONTROLS[1:]}
    with run.progress(len(tried), "directions") as bar:
        how = {"doses": size.doses, "draws": draws, "generator": generator, "done": bar.update}
        tables = study.push_tables(energy, tried, scene, background, sampler, **how)
    for name, table in tables.items():
        run.table(name, table)
    run.tensors("directions", *directions.pack_directions(tried))
    run.json("settings", {"problems": problems.problem_digest(A), "count": len(A), "doses": size.doses})

    moved, steered = tables["movement"], tables["steering"]
    beyond = moved["beyond"].sum()
    share = intervals.proportion_interval(beyond, len(moved))
    usual = (moved["p_covariance_adjusted"] < responses.LEVEL).sum()
    met = share.estimate > 0.5
    run.criterion("moves_more_than_random", met, directions=len(moved), beyond=beyond, beyond_covariance=usual)
    moving = steered["moves"].sum()
    run.criterion("concept_moves_its_property", steered["moves"].any(), concepts=len(steered), moving=moving)
    far = intervals.mean_interval(responses.farthest(tables["responses"]))
    run.criterion("edits_stay_near_manifold", far.high < 0.99, quantile=far.estimate, high=far.high)
    how = {"random": size.random, "stream": partial(problems.generator, run.seed, "state pushes")}
    beside = study.state_pushes(energies, tried, A, others, sampler, doses=size.doses, **how)
    run.table("state_pushes", beside)
    further, shifts = ({e: per_unit(beside, what, energy=e) for e in energies} for what in ("beyond", "moved"))
    title = "shift of answers by pushes of the state"
    log_beside_controls(run, Measure(f"{title}, less that by random ones", further), Measure(title, shifts))
    run.metrics({f"state.beyond.{name}": values.mean() for name, values in further.items()})
    run.headline("share of directions beyond random", share.estimate, share.low, share.high)
    words = f"{len(A)} problems, same start noise; 95 % intervals over problems."
    for name, figure in figures.dose_responses(tables["summary"], tables["directions"], size.panels).items():
        run.figure(name, figure, f"{words} Controls are displaced by the same norm.")
    words += " Filled: beyond random. Tick: random draw that moves most; cross: covariance; at the foot: no change."
    run.figure("overview", figures.plot_movement(moved, tables["directions"]), words)


if __name__ == "__main__":
    main()
