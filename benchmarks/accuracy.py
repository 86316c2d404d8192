"""make accuracy: is a model trained the fast way as good as one trained the plain way?

The same small setting is trained with plain autograd, with the passes written out in float32, and
with matrix products rounded to bfloat16, at several seeds, without and with adversarial mining; the
sampled error is measured on the same problems. All three see the same problems and noise, so that
differences are paired by seed. Criterion, set before any of it was run: a difference counts as none
if its 95 % interval holds 0 and the interval's ends are within a tenth of the plain error.
"""

from __future__ import annotations

import csv
import io

from benchmarks import record
from ired.lab.errors import in_one_line
from ired.lab.queue import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
SIDE, BATCH, RATE = 6, 256, 1e-3  # least squares has 0.0305 at this side
WAYS = ("plain", "float32", "bfloat16")


def main() -> None:
    parser = record.arguments("accuracy", __doc__)
    parser.add_argument("--seeds", type=int, default=5, help="models of each kind (default: 5)")
    parser.add_argument("--steps", type=int, default=400, help="training steps (default: 400)")
    options = parser.parse_args()
    record.filled(DOCUMENT.read_text(), "accuracy", "")
    store = record.begin()

    rows = []
    for mining in ("none", "adversarial"):
        for seed in range(options.seeds):
            for way in WAYS:
                rows.append((mining, way, seed, trained(way, mining, seed, options.steps)))
                print(*rows[-1], flush=True)
    text = summary(rows, options.steps)
    print(f"\n{text}")
    table = io.StringIO()
    csv.writer(table).writerows([("mining", "way", "seed", "mse"), *rows])
    metrics = [(f"mse.{mining}.{way}", mse, seed) for mining, way, seed, mse in rows]
    params = record.machine() | {"seeds": options.seeds, "steps": options.steps}
    files = {"summary.md": text, "models.csv": table.getvalue()}
    run_id = record.log(store, "accuracy of fast training", params, metrics, files)
    note = f"{text}\nRun {run_id} of experiment Benchmarks.\n"
    DOCUMENT.write_text(record.filled(DOCUMENT.read_text(), "accuracy", note))


def trained(way: str, mining: str, seed: int, steps: int) -> float:
    """Sampled MSE on 4000 test problems of the averaged model after training."""
    from dataclasses import replace

    import torch

    from benchmarks.plain import Plain
    from ired.model import problems
    from ired.model.energies.mlp import EnergyConfig
    from ired.model.sampling import SamplingConfig, solve
    from ired.model.training.trainer import Trainer, TrainingConfig

    if way == "plain":
        trainer, source = Plain(SIDE, mining, rate=RATE, seed=seed), problems.generator(seed, "train")
        for _ in range(steps):
            A = problems.draw(BATCH, SIDE, 0.5, source)
            trainer.step(A, problems.inverse(A))
    else:
        config = replace(TrainingConfig.published(mining, steps), batch=BATCH, learning_rate=RATE)
        trainer = Trainer(EnergyConfig(SIDE), replace(config, precision=way), seed)
        trainer.advance(steps)
    A = problems.draw(4000, SIDE, 0.5, problems.generator(0, "test"), torch.float64)
    with torch.no_grad():
        found = solve(trainer.average, A, SamplingConfig.published(), problems.generator(0, "start"))
    return (found - problems.inverse(A)).pow(2).mean().item()


def summary(rows: list[tuple[str, str, int, float]], steps: int) -> str:
    """A Markdown table: mean over seeds, and the difference to plain autograd and to float32."""
    import numpy as np

    from ired.instruments.statistics.intervals import paired_interval, student_interval

    lines = [
        "| mining | trained with | sampled MSE | minus plain | minus float32 | the same |",
        "|---|---|---|---|---|---|",
    ]
    for mining in dict.fromkeys(row[0] for row in rows):
        found = {way: np.array([r[3] for r in rows if r[:2] == (mining, way)]) for way in WAYS}
        for way in WAYS:
            mean = student_interval(found[way])
            cells = [mining, way, f"{mean.estimate:.5f} [{mean.low:.5f}, {mean.high:.5f}]"]
            differences = []
            for other in WAYS[: WAYS.index(way)]:
                seen = paired_interval(found[way], found[other])
                differences.append((seen.low, seen.high))
            cells += [f"[{low:+.5f}, {high:+.5f}]" for low, high in differences]
            cells += ["–"] * (2 - len(differences))
            limit = 0.1 * found["plain"].mean()
            same = all(-limit < low <= 0 <= high < limit for low, high in differences)
            lines.append(f"| {' | '.join(cells)} | {'–' if way == 'plain' else 'yes' if same else 'no'} |")
    seeds = len({row[2] for row in rows})
    lines += [
        "",
        f"n = {SIDE}, batch {BATCH}, {steps} steps, rate {RATE:g}, raw matrices, {seeds} seeds; "
        "95 % intervals over seeds (Student).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with in_one_line():
        main()
