"""make bench: one table of ratios, printed and logged to MLflow.

Every row times two things in turn in this one process (the lab's rows: as processes), at least five
pairs; the ratio is theirs over ours, with the lowest and the highest pair. Rows without a second
thing are times to be held against a limit.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from benchmarks import record
from ired.lab.errors import UserError, in_one_line
from ired.lab.queue import ROOT


def main() -> None:
    parser = record.arguments("bench", __doc__)
    parser.add_argument(
        "--official",
        metavar="PATH",
        help="a checkout of the official IRED release; without it rows compare with plain autograd, and say so",
    )
    parser.add_argument("--pairs", type=int, default=5, help="pairs of every row (default: 5)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name holds TEXT")
    parser.add_argument("--no-bfloat16", action="store_true", help="leave out the bfloat16 rows")
    parser.add_argument("--document", action="store_true", help="put the table into docs/")
    options = parser.parse_args()
    if options.pairs < 5:
        raise UserError("--pairs: a spread over fewer than 5 pairs says nothing")
    store = record.begin()

    from benchmarks import core, dictionaries, lab, official, plain, seeds
    from benchmarks.harness import cells, measure, table

    peer = official.use(options.official) if options.official else plain.Plain
    rows = core.rows(peer, not options.no_bfloat16) + dictionaries.rows() + seeds.rows()
    rows += lab.rows()
    rows = [row for row in rows if options.only in row.name]
    if not rows:
        raise UserError(f"--only: no row's name holds '{options.only}'")
    timings = []
    for row in rows:
        timings.append(measure(row, options.pairs))
        print("  ".join(cells(timings[-1])), flush=True)
    machine = record.machine() | {"peer": peer.name, "pairs": options.pairs}
    text = f"{table(timings)}\n\n{', '.join(f'{k} {v}' for k, v in machine.items())}\n"
    print(f"\n{text}")
    files = {"table.md": text, "timings.json": json.dumps([asdict(t) for t in timings], indent=1)}
    run_id = record.log(store, f"bench against {peer.name}", machine, _metrics(timings), files)
    print(f"logged as run {run_id} of experiment Benchmarks")
    if options.document:
        document = ROOT / "docs" / "performance.md"
        note = f"{text}\nRun {run_id} of experiment Benchmarks.\n"
        document.write_text(record.filled(document.read_text(), "bench", note))


def _metrics(timings: list) -> list[tuple[str, float, int]]:
    """A metric for every number."""
    metrics = []
    for timing in timings:
        name = "".join(c if c.isalnum() else "_" for c in f"{timing.name} vs {timing.peer}")
        for what in ("ours", "theirs", "ratio", "low", "high"):
            if (value := getattr(timing, what)) is not None:
                metrics.append((f"{name}.{what}", value, 0))
    return metrics


if __name__ == "__main__":
    with in_one_line():
        main()
