"""SETUP-2's reference predictors, fitted on fresh training problems: least squares and a regression network.

Heavy imports wait until there is work to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ired.lab.run import Run

Batches = Iterator[tuple["Tensor", "Tensor"]]


def fitted(run: Run, held_out: Collection[bytes]) -> tuple[dict[str, Any], int]:
    """Every predictor by name, and how many of the problems that least squares is fitted on are among those that are
    held out, given by the bytes of A."""
    from ired.instruments.accuracy import predictors

    shared = 0

    def watched(batches: Batches) -> Batches:
        """The same batches, while problems that are held out are counted."""
        nonlocal shared
        for A, Y in batches:
            shared += sum(row.tobytes() in held_out for row in A.numpy())
            yield A, Y

    by_name = predictors.affine_predictors(
        watched(_training(run, 0, run.params.fit, 10_000, "least squares, problems"))
    )
    count = predictors.BATCH * run.params.steps
    examples = _training(run, 2, count, predictors.BATCH, "regression network, problems")
    batches = ((A.to(run.device), Y.to(run.device)) for A, Y in examples)
    by_name["regression"] = predictors.RegressionNetwork(batches, run.profile.model.hidden, run.params.steps)
    return by_name, shared


def _training(run: Run, seed: int, count: int, size: int, label: str) -> Batches:
    """Batches of `size` training problems A (B, n, n) with their inverses, `count` problems in all."""
    import torch

    from ired.model import problems

    problem, source = run.profile.problem, problems.generator(seed, "predictors")
    with run.progress(count, label) as bar:
        for start in range(0, count, size):
            A = problems.draw(min(size, count - start), problem.n, problem.c, source, torch.float64)
            yield A, problems.inverse(A)
            bar.update(len(A))
