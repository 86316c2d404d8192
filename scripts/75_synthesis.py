"""P7-05: what did IRED learn, and how sure are we?

Reads what all other experiments logged, and computes nothing anew. Every criterion is collected; claims
rest on criteria (`ired.report.claims`), are asked whether other networks, sanity checks and other
problems bear them out, and get a confidence by a written rule (`ired.report.confidence`). Negatives
are recommended by what P7-04 found over seeds. The page that it logs is that of `make report`. Against the
synthesis itself: an experiment that is missing, a criterion that no claim takes account of, an instrument
that missed a known answer.
"""

from ired.lab.command import command


@command(
    "P7-05",
    criteria={
        "everything_is_there": "all other 38 experiments have a finished run of the present code",
        "nothing_left_out": "every criterion that was decided belongs to a claim or is an assumption of one",
        "assumptions_hold": "no instrument missed a known answer, and no other assumption of a claim is missed",
    },
)
def main(run):
    import pandas

    from ired.report import build as pages, confidence, page as form, synthesis

    shelf = run.shelf()
    gathered = synthesis.gather(shelf, run.at, without=run.exp_id)
    judged, words = gathered.judged(), synthesis.Words(gathered, pages.plain, autoescape=False)
    claims = synthesis.claims_table(judged, [words.written(claim.claim.sentence) for claim in judged])
    run.table("claims", claims)
    run.table("criteria", synthesis.criteria_table(gathered))
    run.text("answer", synthesis.answer(judged, words))
    advised = pages.advised(gathered)
    advice, recommendations, next_trainings = advised
    cells = [
        {
            "goal": judgement.goal.name,
            "negatives": kind,
            "verdict": cell.verdict,
            "change": cell.text,
            "take": judgement.take,
        }
        for judgement in advice
        for kind, cell in (judgement.cells | judgement.others).items()
    ]
    run.table("advice", pandas.DataFrame(cells, columns=["goal", "negatives", "verdict", "change", "take"]))
    run.json("recommendations", {"mining": recommendations, "next": next_trainings})

    figures = pages.page_figures(gathered, advice)
    drawings = {name: run.figure(name, figure, pages.PICTURES[name]) for name, figure in figures.items()}
    run.html("report", form.page(pages.report(gathered, shelf, pages.linking(gathered, shelf), drawings, advised)))

    for column, words_of in (("verdict", confidence.VERDICTS), ("confidence", confidence.LEVELS)):
        run.metrics({f"{column}.{word.replace(' ', '_')}": (claims[column] == word).sum() for word in words_of})
    run.criterion("everything_is_there", not gathered.missing, missing=len(gathered.missing))
    left = gathered.unclaimed()
    run.criterion("nothing_left_out", not left, criteria=len(gathered.criteria), left_out=len(left))
    violated = {ref for judgement in judged for ref in judgement.violated}
    run.criterion("assumptions_hold", not violated, missed=len(violated))
    run.headline(f"of {len(claims)} claims supported", (claims["verdict"] == confidence.SUPPORTED).sum())


if __name__ == "__main__":
    main()
