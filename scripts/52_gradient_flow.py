"""P5-02: how do gradients flow through the layers?

Gradients of the denoising loss, of the contrastive loss with random negatives, and of E on its way
to the score, by every layer's activations and weights: do they vanish (Glorot & Bengio 2010), how sure
are they (McCandlish et al. 2018, arXiv 1812.06162), do the losses pull together (Yu et al. 2020,
arXiv 2001.06782)? Singular values of the layers' Jacobians; the score as a sum over the constant of f
and its ripple, FiLM's gains and what goes past them, single units; units that are dead or bend nothing.
Against what training is said to have made: untrained networks that do the same, and the trained one
with every matrix at its initial size. Energies without layers have no gradients by layers, so least
squares and the regression network can refute nothing here. The constant's share alone is known of their
bowls: next to nothing, by construction; it stands in the table and decides nothing.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P5-02",
    problems=Param(64, tiny=12, help="test problems"),
    draws=Param(4, tiny=2, help="noised answers of each in every landscape"),
    spectra=Param(12, tiny=4, help="problems whose Jacobians are decomposed in every landscape"),
    untrained=Param(5, tiny=2, help="untrained networks whose scores are taken apart; else the first"),
    criteria={
        "gradients_keep_their_size": "from f to fc1 the gradient by the activations changes by less "
        "than a factor of 10, for both losses and the score in every landscape: intervals of mean "
        "log10 over problems within ±1, at a level of 95 % corrected for their number (Bonferroni)",
        "no_dead_units": "in every layer fewer than 5 % of the units are dead (next to no variance) in "
        "all landscapes: exact upper limit, one-sided 95 %",
        "losses_agree": "the mean gradients of the two losses by all weights have a positive cosine in "
        "every landscape: intervals over problems above 0 (Bonferroni)",
        "score_through_the_constant": "the constant part of f carries more than half of the score in "
        "every landscape: intervals of its share above 0.5 (Bonferroni)",
        "film_matters": "without both modulations the score changes more, relative to its size, than "
        "an untrained network's, in every landscape: paired intervals above 0 (Bonferroni)",
    },
)
def main(run):
    from ired.experiments.controls import CONTROLS, Measure, log_beside_controls, panel
    from ired.instruments.core import states
    from ired.instruments.layers import (
        figures_gradient_signal as figures,
        forward_backward,
        gradient_signal,
        score_decomposition,
        study_gradient_signal as study,
    )
    from ired.instruments.statistics.tables import stacked
    from ired.model import problems
    from ired.model.reference import untrained_networks
    from ired.model.training.trainer import TrainingConfig
    from ired.model.weight_edits import without_film

    run.gate("SETUP-5")
    params, training = run.params, TrainingConfig(**run.profile.training)
    energies = panel(run, "untrained", *CONTROLS)
    model, rescaled = energies["trained"], forward_backward.rescaled(energies["trained"], like=energies["untrained"])
    A = run.upstream("SETUP-2").tensors("problems")["test.A"][: params.problems].to(run.device)
    y0, generator = states.answers(model, A), problems.generator(run.seed, "gradient flow")
    z, noise = forward_backward.noised_by_landscape(model, y0, params.draws, generator)

    def altered(energy):
        """The energy without FiLM in one layer, in both, and with the landscapes' mean in all of them."""
        off = {f"{layer} off": without_film(energy, layer) for layer in ("fc2", "fc3")}
        off["both off"] = without_film(off["fc2 off"], "fc3")
        return off | {"mean of landscapes": forward_backward.mean_film(energy)}

    measured = {}
    for name, energy in {"untrained": energies["untrained"], "rescaled": rescaled, "trained": model}.items():
        measured[name] = study.measure_signals(
            energy,
            altered(energy),
            A,
            y0,
            z,
            noise,
            negatives=gradient_signal.random_negatives(model, training.negative_noise, training.clip),
            decomposed=params.spectra,
            generator=problems.generator(run.seed, "losses"),  # the same problems and noise for each
        )

    networks = untrained_networks(model, run.seed, params.untrained).values()
    beside, spread = study.traits_beside(
        trained=study.ScoreTraits.of(measured["trained"].paths, measured["trained"].film),
        untrained=[study.ScoreTraits.measured(n, altered(n)["both off"], A, z, noise) for n in networks],
        bowls={name: score_decomposition.constant_share_of_bowl(energies[name], A, z) for name in CONTROLS},
    )

    tables, values = study.gradient_signal_tables(measured), study.singular_values(measured)
    summaries = study.gradient_signal_summaries(tables)
    for name, table in (tables | {"summary": stacked(summaries, "of")}).items():
        run.table(name, table)
    run.tensors("singular_values", {name: array.astype("float32") for name, array in values.items()})
    for name, (met, numbers) in study.gradient_signal_verdicts(measured["trained"], tables).items():
        run.criterion(name, met, **numbers)
    log_beside_controls(run, *(Measure(title, by_energy) for title, by_energy in beside.items()), decides=False)
    run.metrics(spread)
    cosine = measured["trained"].flow.agreement()[-1]
    run.headline("cosine of the losses' gradients", cosine["cosine"], cosine["low"], cosine["high"])
    for name, figure, caption in figures.gradient_signal_figures(tables, summaries, values, params.problems):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
