"""The page that says what was learned and how sure we are: `make report`, `make findings`.

Reads what is logged, whether every experiment has been run or not; what is missing is named with the
command that makes it. P7-05 writes the same page as an artifact.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ired.lab.arguments import Parser, add_coordinates, seeds_of, take_coordinates
from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, in_one_line
from ired.lab.machine import set_threads
from ired.lab.profiles import PROFILES
from ired.lab.queue import COORDINATES, ROOT, RunCoordinates
from ired.lab.targets import experiments_page
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.results import Shelf
from ired.lab.tracking.store import Store, write_whole
from ired.report import confidence, published, synthesis
from ired.report.claims import stated
from ired.report.controls_table import rows_beside_controls

if TYPE_CHECKING:
    from ired.lab.tracking.result import Result
    from ired.report.page import ClaimRow, Compared, Picture, Report, ShownExperiment
    from ired.report.recommendation import Advice
    from ired.report.synthesis import Gathered, Words

    Advised = tuple[list[Advice], list[str], list[str]]

TITLE = "What does an energy-based reasoner learn?"
PICTURES = {
    "claims": "Every claim with its verdict, the three checks, its kind, and the confidence that the rule gives.",
    "decision": "What negatives change, by what one wants: verdicts over seeds, relative changes to no negatives with "
    "Student's 95 % intervals, corrected over the kinds of negatives of each row.",
    "published": "Errors over least squares' on A at the same n (dashed: 1). Intervals as in the table.",
}
NOTE = """Errors at different sizes cannot be compared, so each is divided by that of least squares on A for
matrices of the same size: at 1 a model is as accurate as an affine map. The published figures are {low} to
{high} times least squares' on problems like those of training."""


def linking(gathered: Gathered, shelf: Shelf) -> Any:
    """Writes a number as HTML: a link to its run in the page's appendix, or in the MLflow UI where the
    page does not show that run."""
    from markupsafe import Markup

    inside = {result.run_id for result in gathered.results.values()}

    def linked(text: str, result: Result) -> Markup:
        where = f"#run-{result.run_id[:8]}" if result.run_id in inside else shelf.link(result)
        return Markup('<a class="n" href="{}" title="{}">{}</a>').format(where, result.name, text)

    return linked


def plain(text: str, _: Result) -> str:
    """A number as text."""
    return text


# What the page shows


def rows(gathered: Gathered, words: Words) -> tuple[ClaimRow, ...]:
    """All claims, judged, with their sentences."""
    from ired.report.page import ClaimRow

    phases = {exp.id: exp.phase for exp in gathered.experiments}
    return tuple(
        ClaimRow(judged, phases[judged.claim.experiments()[0]], words.written(judged.claim.sentence))
        for judged in gathered.judged()
    )


def shown_experiments(gathered: Gathered, shelf: Shelf, pictures: bool = True) -> tuple[ShownExperiment, ...]:
    """All experiments of the queue, in order."""
    from ired.report.page import ShownExperiment

    experiments = []
    for exp in gathered.experiments:
        common = {
            "id": exp.id,
            "title": exp.title,
            "question": experiments_page.question(exp),
            "phase": exp.phase,
            "method": experiments_page.method(exp),
            "command": exp.target(gathered.at),
        }
        result = gathered.results.get(exp.id)
        if result is None:
            experiments.append(ShownExperiment(**common, state=gathered.missing[exp.id]))
            continue
        criteria = tuple(criterion for criterion in gathered.criteria.values() if criterion.experiment == exp.id)
        experiments.append(
            ShownExperiment(
                **common,
                state="done",
                headline=result.headline,
                run_id=result.run_id,
                link=shelf.link(result),
                seconds=result.metrics.get("wall_seconds", 0.0),
                made=_made(result),
                params=_params(result),
                data=tuple(result.data),
                criteria=criteria,
                pictures=_pictures(result) if pictures and exp.id != synthesis.ITSELF else (),
            )
        )
    return tuple(experiments)


def _made(result: Result) -> dict[str, str]:
    tags = result.tags
    packages = json.loads(tags.get("packages", "{}"))
    edited = " with edits" if tags.get("git_dirty") == "true" else ""
    return {
        "started": datetime.fromtimestamp(result.started, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": tags.get("mlflow.source.git.commit", "not recorded")[:12] + edited,
        "key": tags.get("key", ""),
        "seed": tags.get("seed", ""),
        "variant": tags.get("variant", ""),
        "device": tags.get("device", ""),
        "threads": tags.get("threads", ""),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }


def _params(result: Result) -> dict[str, str]:
    """Parameters of the experiment itself: those of the profile have a dot, coordinates are named."""
    return {name: value for name, value in sorted(result.params.items()) if "." not in name and name not in COORDINATES}


def _pictures(result: Result) -> tuple[Picture, ...]:
    names, pictures = result.names("figures"), []
    for stem in (name.removesuffix(".png") for name in names if name.endswith(".png")):
        caption = result.path(f"figures/{stem}.txt").read_text() if f"{stem}.txt" in names else ""
        pictures.append(_picture(stem, " ".join(caption.split()), result.path(f"figures/{stem}.png").read_bytes()))
    return tuple(pictures)


def _picture(name: str, caption: str, png: bytes) -> Picture:
    from ired.report.page import Picture

    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))  # of PNG's header
    return Picture(name, caption, png, (width, height))


# Comparison with what others published


def compared_with_published(rows: Iterable[published.Figure], link: Any) -> tuple[Compared, ...]:
    from ired.report.page import Compared

    def cell(figure: published.Figure, values: tuple[float, float, float] | None) -> Any:
        if values is None:
            return "–"
        value, low, high = (synthesis.formed(value, ".4g") for value in values)
        text = value + (f" [{low}, {high}]" if high != low else "")
        return link(text, figure.run) if figure.run else text

    return tuple(
        Compared(
            setting=figure.setting,
            same=cell(figure, figure.mse.get("test")),
            harder=cell(figure, figure.mse.get("harder")),
            ratio=cell(figure, figure.ratio("test")),
            source=figure.source,
        )
        for figure in rows
    )


# The whole


def advised(gathered: Gathered) -> Advised:
    """Advice on negatives by goal, recommendations, and what to train next; nothing without P7-04."""
    from ired.report import recommendation, recommendation_sentences

    if "P7-04" not in gathered.results:
        return [], [], ["P7-04 is missing: until it has run, nothing is said about negatives."]
    compared = gathered.results["P7-04"]
    advice = recommendation.advise(compared.table("comparison"), compared.table("costs"))
    return advice, recommendation_sentences.recommendations(advice), recommendation_sentences.next_trainings(advice)


def page_figures(gathered: Gathered, advice: Sequence[Advice], elsewhere: Sequence[Gathered] = ()) -> dict[str, Any]:
    """The page's own figures: claims, the decision, and published figures."""
    from ired.report import figures as figures_of

    judged = gathered.judged()
    phases = {exp.id: exp.phase for exp in gathered.experiments}
    pictures = {
        "claims": figures_of.plot_claims(judged, [phases[claim.claim.experiments()[0]] for claim in judged]),
        "published": figures_of.plot_published(published.ratios(published.all_figures(gathered, elsewhere))),
    }
    return pictures | ({"decision": figures_of.plot_decision(advice)} if advice else {})


def report(
    gathered: Gathered,
    shelf: Shelf,
    link: Any,
    drawings: Mapping[str, bytes],
    advice: Advised,
    escape: bool = True,
    pictures: bool = True,
    elsewhere: Sequence[Gathered] = (),
) -> Report:
    """Everything that the page says. own: the page's figures as PNG; link: how a number names its run."""
    from markupsafe import Markup

    from ired.report import page as form

    words = synthesis.Words(gathered, link, escape)
    claims = rows(gathered, words)
    by_name = {row.judged.claim.name: row for row in claims}
    goals, recommended, next_ = advice
    compared_by = gathered.results.get("P7-04")

    def cited(text: str) -> Any:
        """A sentence with the run that its numbers come from."""
        return Markup("{} ({})").format(text, link("P7-04", compared_by)) if escape and compared_by else text

    published_ = [figure.ratio("test")[0] for figure in published.PUBLISHED]
    profile = PROFILES[gathered.at.profile]
    n, seeds = profile.problem.n, sorted({gathered.at.seed, *gathered.others})
    shown_ = shown_experiments(gathered, shelf, pictures)
    newest = max((result.started for result in gathered.results.values()), default=0.0)
    return form.Report(
        title=TITLE,
        setting=f"Profile {profile.name}: {n}×{n} matrices, hidden width {profile.model['hidden']}; seed "
        f"{gathered.at.seed}, negatives: {gathered.at.variant}, unless named",
        answer=synthesis.answer([row.judged for row in claims], words),
        highlights=tuple(by_name[name] for name in stated.HIGHLIGHTS),
        rows=claims,
        rules=confidence.RULES,
        phases={number: (name, stated.PHASES[number]) for number, name in enumerate(shelf.queue.phases)},
        experiments=shown_,
        milestones=tuple(
            form.Milestone(meaning, phases, not missing, tuple(missing))
            for meaning, phases, missing in synthesis.milestones(gathered, shelf.queue)
        ),
        compared=compared_with_published(published.all_figures(gathered, elsewhere), link),
        comparison_note=NOTE.format(low=f"{min(published_):.3f}", high=f"{max(published_):.3f}"),
        advice=tuple(
            form.AdviceRow(
                goal.goal.name,
                {
                    kind: link(f"{cell.verdict}, {cell.text}", compared_by)
                    for kind, cell in (goal.cells | goal.others).items()
                },
                goal.take + (f" (or the energy {goal.instead})" if goal.instead else ""),
                goal.why,
            )
            for goal in goals
        ),
        recommendations=tuple(map(cited, recommended)),
        next=tuple(map(cited, next_)),
        pictures={name: _picture(name, PICTURES[name], png) for name, png in drawings.items()},
        warnings=tuple(_warnings(gathered)),
        environment=_environment(shown_),
        seeds=f"seed {gathered.at.seed} for everything"
        + (f"; the same criteria at seeds {', '.join(map(str, seeds))}" if gathered.others else "")
        + "; P6-01 and Phase 7 train several seeds each",
        made_at=datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        beside=rows_beside_controls(gathered.results),
    )


def _warnings(gathered: Gathered) -> Iterable[str]:
    """What makes everything else doubtful."""
    for criterion in gathered.criteria.values():
        if not criterion.met and criterion.experiment == stated.INSTRUMENTS:
            yield f"The instrument '{criterion.name}' missed a known answer on this machine: no claim is above low."
    if left := gathered.unclaimed():
        yield f"No claim takes account of {', '.join(left)}: what came of them is in the story, and in no verdict."
    commits = {made["commit"] for made in map(_made, gathered.results.values())}
    if any("with edits" in commit for commit in commits):
        yield "Some runs were made with edits that no commit holds."


def _environment(experiments: Iterable[ShownExperiment]) -> dict[str, str]:
    """What the runs ran in, each value once."""
    values_of: dict[str, dict[str, None]] = {}
    for experiment in experiments:
        for name in ("commit", "device", "threads", "packages"):
            if experiment.made.get(name):
                values_of.setdefault(name, {})[experiment.made[name]] = None
    return {name: "; ".join(values) for name, values in values_of.items()}


# The command


def others_of(shelf: Shelf, at: RunCoordinates) -> list[Gathered]:
    """Models of other profiles that this store has, for the comparison with published figures."""
    gathered = []
    for profile in PROFILES:
        there = replace(at, profile=profile)
        data = shelf.find(shelf.queue["SETUP-2"], there)
        if profile != at.profile and PROFILES[profile].sizes != "tiny" and data:
            exp = shelf.queue["SETUP-3"]
            models = {seed: shelf.find(exp, replace(there, seed=seed)) for seed in shelf.seeds(exp, there)}
            models = {seed: {exp.id: model} for seed, model in models.items() if model}
            if models:
                first = min(models)
                gathered.append(
                    synthesis.Gathered(
                        at=replace(there, seed=first),
                        experiments=(),
                        results={"SETUP-2": data} | models.pop(first),
                        missing={},
                        others=models,
                    )
                )
    return gathered


def png(figure: Any, dpi: int = 150) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def main(argv: list[str]) -> None:
    parser = Parser(prog="report", description=__doc__, allow_abbrev=False)
    add_coordinates(parser)
    parser.add_argument("--seeds", type=seeds_of, default=(), help="other seeds whose criteria count as well")
    parser.add_argument(
        "--findings",
        action="store_true",
        help="write docs/findings.md, or docs/findings-PROFILE.md, instead of the page",
    )
    options = vars(parser.parse_args(argv))
    seeds, findings = options.pop("seeds"), options.pop("findings")
    keys, store = Keys(), Store()
    at = take_coordinates(options, keys.queue)
    store.check()
    set_threads()
    shelf = Shelf(open_tracking(store, keys), keys)
    gathered, others = synthesis.gather(shelf, at, seeds), others_of(shelf, at)
    if not any(exp.varies for exp in gathered.experiments if exp.id in gathered.results):
        raise UserError(
            f"nothing has been run at {at.words() or 'the defaults'} with this code: "
            f"`{' '.join(['make phase1', at.words()]).strip()}` is a start"
        )
    for seed in sorted({*seeds} - {at.seed, *gathered.others}):
        print(f"  seed {seed} does not count: nothing has been run there with this code")
    advice = advised(gathered)
    figures_ = page_figures(gathered, advice[0], others)
    if findings:
        from ired.report import findings as form

        stem = "findings" if at.profile == RunCoordinates().profile else f"findings-{at.profile}"
        pictures = {name: png(figure, 100) for name, figure in figures_.items()}
        text, files = form.findings_page(report(gathered, shelf, plain, pictures, advice, False, False, others), stem)
        for name, data in files.items():
            (ROOT / "docs" / "figures" / name).write_bytes(data)
        place = ROOT / "docs" / f"{stem}.md"
    else:
        from ired.report import page as form

        pictures = {name: png(figure) for name, figure in figures_.items()}
        text = form.page(report(gathered, shelf, linking(gathered, shelf), pictures, advice, elsewhere=others))
        place = store.folder / f"report-{'-'.join([at.profile, f'seed{at.seed}', at.variant])}.html"
    write_whole(place, text)
    missing = f"; missing: {', '.join(gathered.missing)}" if gathered.missing else ""
    print(f"{place.relative_to(ROOT)}: {len(gathered.results)} of {len(gathered.experiments)} experiments{missing}")


if __name__ == "__main__":
    with in_one_line():
        main(sys.argv[1:])
