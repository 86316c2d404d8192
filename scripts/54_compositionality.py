"""P5-04: what is the energy composed of, output by output and feature by feature?

E = Σ f_i²: which outputs carry the gap to the answer and the score (E itself has a free offset), by
entry and by eigen-direction of A⁻¹, beside outputs turned at random, which make the same energy,
another problem's eigenbasis, and an untrained network. And the graph between dictionaries: what feature
i adds to the pre-activation of feature j of the next layer, by gradient × activation (Marks et al.
2024, arXiv 2403.19647), every edge verified by ablating it alone; how many carry 80 %. Against it:
outputs as good as turned ones, or no fewer than in the bowls of least squares and a regression network;
edges that ablation does not find, a graph no sparser than those of shuffled directions or weights, of
random dictionaries, of an untrained network (all its controls: bowls have no features).
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P5-04",
    problems=Param(200, tiny=24, paper=100, gpu=300, help="problems that outputs and edges are averaged over"),
    states=Param(4, tiny=2, help="noised answers of each in a landscape, for the outputs"),
    draws=Param(20, tiny=4, help="random turns of the outputs"),
    landscapes=Param((0, 2, 5, 9), tiny=(0, 5), help="landscapes whose outputs are looked at"),
    training=Param(800, tiny=60, paper=2000, help="other problems, for dictionaries made here"),
    steps=Param(200, tiny=20, paper=400, gpu=600, help="training steps of these"),
    batch=Param(512, tiny=128, paper=1024, gpu=2048, help="tokens of a step"),
    ends=Param(8, tiny=4, help="features of fc3 that chains are followed back from"),
    parents=Param(3, tiny=2, help="strongest edges into each feature that they are followed along"),
    criteria={
        "few_outputs_carry_the_gap": "at k = 0 fewer than a quarter of the outputs carry 80 % of the "
        "gap, fewer than of turned ones: 95 % intervals over problems, and each single turn",
        "outputs_are_entries": "at k = 0 the share of output i's gap that coordinate i's displacement "
        "makes is larger than for turned ones: 95 % interval over problems, and each single turn",
        "gap_follows_eigen_directions": "at k = 0 fewer outputs carry 80 % in the eigenbasis of A⁻¹ "
        "than in another problem's: paired 95 % interval over problems",
        "edges_verified": "in every step, fc3 to the gap included, the rank correlation of attribution "
        "and ablation is above 0.8: 95 % interval (over targets; at the end over features)",
        "graph_is_sparser_than_chance": "in both steps a smaller share of sources carries 80 % of the "
        "effect on a target than with shuffled directions, shuffled weights, random dictionaries, and "
        "an untrained network's: paired 95 % interval over targets below 0, each of them",
        "beyond_controls": "at k = 0 a smaller share of the outputs carries 80 % of a problem's gap than of "
        "the bowls around least squares and around the regression network's answers, their outputs as near to "
        "entries as can be: paired 95 % intervals over problems, Bonferroni over both",
    },
)
def main(run):
    import torch

    from ired.experiments.controls import CONTROLS, Measure, log_beside_controls, panel
    from ired.experiments.earlier_results import dictionary_of_run
    from ired.instruments.circuits import dictionary_graphs, figures, study
    from ired.instruments.core import states
    from ired.model import problems

    size, problem = run.params, run.profile.problem
    energies = panel(run, "untrained", *CONTROLS)
    model, generator = energies["trained"], problems.generator(run.seed, "composition")
    A = problems.draw(size.problems + size.training, problem.n, problem.c, generator, torch.float64).to(run.device)
    run.dataset(f"P5-04 n={problem.n}", problems.problem_digest(A), "fresh", "ired.model.problems.draw")
    A, others = A.split([size.problems, size.training])
    y0, landscapes = states.answers(model, A), [k for k in size.landscapes if k < model.schedule.K]

    # Output by output.
    terms, pictures = study.outputs(
        energies, A, y0, landscapes, states=size.states, draws=size.draws, generator=generator
    )

    # Feature by feature: the dictionaries studied, and such as are made alike for both networks.
    learned = [dictionary_of_run(run, exp_id) for exp_id in ("P2-02", "P2-03", "P2-04")]
    tokens = study.noised_answers(model, A, y0, 1, generator)
    training = study.noised_answers(model, others, states.answers(model, others), 1, generator)
    with run.progress(2 * len(learned), "dictionaries to compare with") as bar:
        networks = dictionary_graphs.networks(
            {name: energies[name] for name in ("trained", "untrained")},
            learned,
            tokens,
            training,
            steps=size.steps,
            batch=size.batch,
            generator=generator,
            on_layer=bar.update,
        )
    graphs = dictionary_graphs.graphs(networks, tokens, generator)
    properties = {name: states.array(v) for name, v in problems.properties(A).items() if name != "rank"}
    chains, features = study.strongest_chains(
        graphs, networks["trained"], tokens, properties, ends=size.ends, parents=size.parents
    )

    tables = terms | graphs.tables() | {"chains": chains, "features": features}
    for name, table in tables.items():
        run.table(name, table)
    run.tensors("pictures", pictures)
    for name, (met, numbers) in study.circuit_verdicts(terms, graphs).items():
        run.criterion(name, met, **numbers)
    needed, coordinates = (study.outputs_beside(terms["by_problem"], measure) for measure in ("needed", "own"))
    fewer = Measure("outputs needed for 80 % of a gap", needed, higher=False)
    log_beside_controls(run, fewer, Measure("gap of an output from its own coordinate", coordinates))
    nearest = graphs.nearest()
    run.headline("share of sources beyond the nearest chance", nearest.estimate, nearest.low, nearest.high)
    run.metrics(study.circuit_metrics(terms, graphs, chains))
    for name, figure, caption in figures.composition_figures(tables, pictures):
        run.figure(name, figure, f"{caption} {size.problems} problems.")


if __name__ == "__main__":
    main()
