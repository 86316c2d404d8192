"""SETUP-5: go or no-go for Phase 1.

Reads what the set-up found: is the model better than the training mean (else it has learned
nothing and there is nothing to take apart), were all instruments right on their known answers, and
is the experiment queue consistent? Each is needed for a go. Whether the model's answers are more than
an affine map of A decides what its findings are about.
"""

from ired.lab.command import command


@command(
    "SETUP-5",
    criteria={
        "model_trained": "SETUP-3 met its criterion beats_mean",
        "more_than_an_affine_map": "SETUP-3 met its criterion more_than_affine (not needed for a go)",
        "instruments_calibrated": "SETUP-4 met every one of its criteria",
        "queue_consistent": "pipeline.json is valid and each script on disk is the one it names",
    },
)
def main(run):
    from ired.lab import queue

    model, instruments = run.upstream("SETUP-3"), run.upstream("SETUP-4")
    scripts = {path.name for path in (queue.ROOT / "scripts").glob("[0-9]*.py")}
    known = {exp.script.removeprefix("scripts/") for exp in queue.load().experiments}
    checks = {
        "model_trained": model.criteria["beats_mean"],
        "more_than_an_affine_map": model.criteria["more_than_affine"],
        "instruments_calibrated": all(instruments.criteria.values()),
        "queue_consistent": scripts <= known,
    }
    reasons = [name for name, met in checks.items() if not met]
    go = not set(reasons) - {"more_than_an_affine_map"}
    run.json(
        "decision",
        {"go": go, "not_met": reasons, "model": model.headline, "run": model.run_id} | checks,
    )
    for name, met in checks.items():
        run.criterion(name, met)
    if go and reasons:
        print("  the answers are hardly more than an affine map of A: what Phase 1 finds is about a linear map")
    run.headline("go" if go else "no-go", float(go))


if __name__ == "__main__":
    main()
