"""P5-02: how do gradients flow through the layers?

Gradients of the denoising loss, of the contrastive loss with random negatives, and of E on its way
to the score, by every layer's activations and weights: do they vanish (Glorot & Bengio 2010), how sure
are they (McCandlish et al. 2018, arXiv 1812.06162), do the losses pull together (Yu et al. 2020,
arXiv 2001.06782)? Singular values of the layers' Jacobians; the score as a sum over the constant of f
and its ripple, FiLM's gains and what goes past them, single units; units that are dead or bend nothing.
Against what training is said to have made: an untrained network that does the same, and the trained
one with every matrix at its initial size.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P5-02",
    problems=Param(64, tiny=12, help="test problems"),
    draws=Param(4, tiny=2, help="noised answers of each in every landscape"),
    spectra=Param(12, tiny=4, help="problems whose Jacobians are decomposed in every landscape"),
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
    import copy

    import pandas

    from ired.instruments.core import states
    from ired.instruments.layers import (
        figures_gradient_signal as figures,
        forward_backward,
        gradient_signal,
        jacobians,
        score_decomposition,
        unit_activity,
    )
    from ired.instruments.statistics.tables import summarise, weakest_margin
    from ired.model import problems
    from ired.model.reference import panel
    from ired.model.training import TrainingConfig
    from ired.model.weight_edits import without_film

    run.gate("SETUP-5")
    known = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    model, untrained, params = known["trained"], known["untrained"], run.params
    rescaled, training = copy.deepcopy(model), TrainingConfig(**run.profile.training)
    for own, other in zip(rescaled.parameters(), untrained.parameters(), strict=True):
        own.mul_(other.norm() / own.norm())
    A = run.upstream("SETUP-2").tensors("problems")["test.A"][: params.problems].to(run.device)
    y0, schedule, K = states.answers(model, A), model.schedule, model.schedule.K
    z, noise = forward_backward.noised(model, y0, params.draws, problems.generator(run.seed, "gradient flow"))

    def negatives(y0, noise, k):
        """Random ones, as in training."""
        root, sigma = (schedule.at(name, k, y0[0])[None] for name in ("sqrt_alpha_bar", "sigma"))
        wrong = y0 + training.negative_noise * sigma / root * noise
        return wrong.clamp(-training.clip, training.clip)

    def altered(energy):
        off = {f"{layer} off": without_film(energy, layer) for layer in ("fc2", "fc3")}
        both = without_film(off["fc2 off"], "fc3")
        return off | {"both off": both, "mean of landscapes": forward_backward.mean_film(energy)}

    seen, values, few = {}, {}, slice(params.spectra)
    for name, energy in {"untrained": untrained, "rescaled": rescaled, "trained": model}.items():
        source = problems.generator(run.seed, "losses")  # the same problems and noise for each
        flow = gradient_signal.flow(energy, A, y0, negatives, params.draws, source)
        stretch = jacobians.spectra(energy, A[few], z[:, few, 0])
        ways, census = score_decomposition.paths(energy, A, z), unit_activity.census(energy, A, z)
        film = score_decomposition.score_changes(energy, altered(energy), A, z, noise)
        for kind, rows in {
            "norms": flow.columns(), "depth": flow.depth(), "signals": flow.signals(),
            "agreement": flow.agreement(1 - 0.05 / K), "spectra": stretch.columns(), "film": film,
            "paths": ways.columns(), "units": ways.units(), "census": census.columns(),
        }.items():  # fmt: skip
            seen.setdefault(kind, []).append(pandas.DataFrame(rows).assign(energy=name))
        values |= {f"{name}.{what}": s for what, s in stretch.values.items()}
    tables = {kind: pandas.concat(parts, ignore_index=True) for kind, parts in seen.items()}
    summary = score_decomposition.summaries(tables)
    by = ["energy", "landscape", "map"]
    summary["spectra"] = summarise(tables["spectra"], by, ["gain", "rank"])
    whole = pandas.concat([table.assign(of=name) for name, table in summary.items()], ignore_index=True)
    for kind, table in {**tables, "summary": whole}.items():
        run.table(kind, table)
    run.tensors("singular_values", {name: s.astype("float32") for name, s in values.items()})

    # The trained energy stood last.
    worst, through, dead = flow.furthest(), ways.least_constant(), census.dead()
    run.criterion("gradients_keep_their_size", max(-worst.low, worst.high) < 1, decades=worst.estimate,
                  low=worst.low, high=worst.high)  # fmt: skip
    run.criterion("no_dead_units", max(d.high for d in dead.values()) < 0.05,
                  **{layer: d.estimate for layer, d in dead.items()})  # fmt: skip
    both = [row for row in flow.agreement(1 - 0.05 / K) if row["layer"] == gradient_signal.WHOLE][:K]
    agreeing, opposed = sum(row["low"] > 0 for row in both), sum(row["high"] < 0 for row in both)
    run.criterion("losses_agree", agreeing == K, agreeing=agreeing, opposed=opposed,
                  lowest=min(row["cosine"] for row in both))  # fmt: skip
    run.criterion("score_through_the_constant", through.low > 0.5, least=through.estimate,
                  low=through.low)  # fmt: skip
    margin = weakest_margin(tables["film"], "change", "trained", "untrained", altered="both off")
    run.criterion("film_matters", margin.low > 0, weakest=margin.estimate, low=margin.low)
    every = flow.agreement()[-1]
    run.headline("cosine of the losses' gradients", *(every[end] for end in ("cosine", "low", "high")))
    for name, figure, caption in figures.all_of_them(tables, summary, values, params.problems):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
