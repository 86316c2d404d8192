"""P1-01: what does the energy look like around the answer?

Two-dimensional slices of every landscape through the true inverse of test problems, along random
planes, the leading principal axes of gradients, and the plane of the sampling path. A slice is
normalised so that a perfect denoiser's is the bowl (u² + v²)/2 in every landscape. Against the claim
that the answer is the bottom of a bowl: lower points in the slice, a minimum far from the answer, an
untrained network that looks the same, or a bowl around a plain prediction that does.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P1-01",
    slices=Param(50, tiny=6, help="problems, each sliced once along every kind of plane"),
    resolution=Param(25, tiny=11, help="grid points along an axis (odd)"),
    extent=Param(3.0, help="half width of a slice in σ_k"),
    criteria={
        "answer_lowest_in_its_slice": "at k = 0 in random planes less than 5 % of the slice lies "
        "below the answer: the whole 95 % interval over problems",
        "closer_to_the_bowl_than_untrained": "in every landscape the correlation with the ideal "
        "bowl in random planes exceeds that of the untrained network: paired 95 % intervals above "
        "0, at a level corrected for the number of landscapes (Bonferroni)",
        "beyond_controls": "at k = 0 the correlation with the ideal bowl in random planes exceeds that of the affine "
        "denoiser and of the regression network: paired 95 % intervals above 0, Bonferroni over both",
    },
)
def main(run):
    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.core import states
    from ired.instruments.core.trajectories import record
    from ired.instruments.landscape import figures, study
    from ired.instruments.statistics.intervals import mean_interval
    from ired.instruments.statistics.tables import per_unit, summarise, weakest_margin
    from ired.model import problems
    from ired.model.sampling import AnnealedSampler

    run.gate("SETUP-5")
    energies = panel(run)
    model, extent = energies["trained"], run.params.extent
    A = run.upstream("SETUP-2").tensors("problems")["test.A"][: run.params.slices].to(run.device)
    y0 = states.answers(model, A)
    random = problems.generator(run.seed, "slices")
    start = model.coordinates.noise(len(A), generator=random, dtype=A.dtype).to(run.device)
    walked = record(AnnealedSampler(**run.profile.sampling).answers, model, A, start)
    with run.progress(model.schedule.K, "slices, landscapes") as bar:
        table, pictures = study.slice_tables(
            energies, A, y0, walked, extent=extent, resolution=run.params.resolution, generator=random, done=bar.update
        )
    measures = ["below", "minimum_distance", "ideal_correlation", "fit"]
    summary = summarise(table, ["kind", "energy", "landscape"], measures)
    run.table("slices", table)
    run.table("summary", summary)
    run.tensors("pictures", pictures, meta={"extent": extent})

    table = table[table["kind"] == "random"]
    below = mean_interval(per_unit(table, "below", energy="trained", landscape=0))
    run.criterion("answer_lowest_in_its_slice", below.high < 0.05, share=below.estimate, high=below.high)
    margin = weakest_margin(table, "ideal_correlation", "trained", "untrained")
    run.criterion("closer_to_the_bowl_than_untrained", margin.low > 0, worst=margin.estimate, low=margin.low)
    beside = study.slice_measures(table)
    log_beside_controls(run, *(Measure(*measure) for measure in beside.values()))
    run.metrics(study.sharpest_means(beside))
    run.headline("share of slice below the answer, k=0", below.estimate, below.low, below.high)
    run.figure(
        "slices_by_energy",
        figures.plot_slices_by_energy(pictures, list(energies), extent),
        "Gap to the answer's energy in σ_k in a random plane through the answer (+) of one problem, "
        "on one colour scale; the ideal bowl is the third row, the last two are bowls around plain predictions.",
    )
    run.figure(
        "slices_by_plane",
        figures.plot_slices_by_plane(pictures, extent),
        "Trained energy of the same problem along three kinds of planes. +: answer, ×: where "
        "sampling ended, line: the sampling path's shadow in the plane.",
    )
    caption = f"Means over {len(A)} problems with 95 % intervals; random planes."
    run.figure("slice_shapes", figures.plot_slice_shapes(summary), caption)


if __name__ == "__main__":
    main()
