"""Figures that others have published, and how the results of this store compare with them.

Errors at different sizes n are not comparable; their ratio to least squares on A at the same n is, as far
as anything is. So every row is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ired.lab.profiles import PROFILES

if TYPE_CHECKING:
    from ired.lab.tracking.result import Result
    from ired.report.synthesis import Gathered

FAMILIES = ("test", "harder")
# Least squares on A at n = 20, three seeds, measured for this project: what published errors are held
# against. A run of SETUP-2 at the published size measures it anew.
LEAST_SQUARES = {"test": 0.00956, "harder": 0.2075}
SOURCE = "quoted by a public replication, not checked against the paper"


@dataclass(frozen=True)
class Figure:
    """Errors per entry of A⁻¹ by family, with an interval where there is one; run: what was run for it."""

    setting: str
    n: int
    mse: Mapping[str, tuple[float, float, float]]
    least_squares: Mapping[str, float]
    source: str
    kind: str  # published, ours or reference
    run: Any = None

    def ratio(self, family: str) -> tuple[float, float, float] | None:
        """The error over least squares' at the same n."""
        if family not in self.mse:
            return None
        return tuple(value / self.least_squares[family] for value in self.mse[family])


def _exact(**values: float) -> dict[str, tuple[float, float, float]]:
    return {family: (value, value, value) for family, value in values.items()}


def _spread(value: float, deviation: float) -> tuple[float, float, float]:
    return value, value - deviation, value + deviation


PUBLISHED = (
    Figure(
        setting="IRED, Table 2, 10 steps",
        n=20,
        mse=_exact(test=0.0096, harder=0.2110),
        least_squares=LEAST_SQUARES,
        source=SOURCE,
        kind="published",
    ),
    Figure(
        setting="IRED, Table 2, 20 steps",
        n=20,
        mse=_exact(test=0.0096, harder=0.2100),
        least_squares=LEAST_SQUARES,
        source=SOURCE,
        kind="published",
    ),
    Figure(
        setting="IRED, Table 2, 30 steps",
        n=20,
        mse=_exact(test=0.0096, harder=0.2090),
        least_squares=LEAST_SQUARES,
        source=SOURCE,
        kind="published",
    ),
    Figure(
        setting="IRED, Table 2, 40 steps",
        n=20,
        mse=_exact(test=0.0095, harder=0.2063),
        least_squares=LEAST_SQUARES,
        source=SOURCE,
        kind="published",
    ),
    *(
        Figure(
            setting=f"a public replication, {mining}",
            n=20,
            mse={"test": _spread(*errors)} | _exact(**harder),
            least_squares=LEAST_SQUARES,
            source="100 000 steps, ten seeds, ± one deviation",
            kind="published",
        )
        for mining, errors, harder in (
            ("no negatives", (0.009692, 0.00002), {"harder": 0.2063}),
            ("random", (0.009731, 0.00006), {}),
            ("adversarial", (0.009777, 0.00002), {}),
        )
    ),
)


def ours(data: Result, model: Result, inner_steps: int) -> Figure:
    """The sampled errors of one model after all its steps, from runs of SETUP-2 and SETUP-3."""
    mse = {}
    for row in model.table("accuracy").itertuples():
        if row.family in FAMILIES and row.steps == 10 * inner_steps:
            mse[row.family] = row.mse, row.low, row.high
    steps = int(model.metrics["trained_steps"])
    return Figure(
        setting=f"{model.params['profile']}, {variant(model)}, seed {model.params['seed']}",
        n=_side(data),
        mse=mse,
        least_squares=least_squares_errors(data),
        source=f"{steps} steps, 95 % over problems",
        kind="ours",
        run=model,
    )


def seeds(data: Result, compared: Result, inner_steps: int) -> list[Figure]:
    """Means over seeds of every variant that P7-04 compared, with Student's 95 % intervals."""
    from ired.instruments.statistics.intervals import student_interval

    table, figures = compared.table("models"), []
    for name, rows in table.groupby("variant", sort=False):
        mse = {}
        for family in FAMILIES:
            interval = student_interval(rows[rows["metric"] == f"accuracy.mse.{family}"]["value"].to_numpy())
            mse[family] = interval.estimate, interval.low, interval.high
        count = rows["seed"].nunique()
        figures.append(
            Figure(
                setting=f"{data.params['profile']}, {name if name != 'none' else 'no negatives'}",
                n=_side(data),
                mse=mse,
                least_squares=least_squares_errors(data),
                source=f"mean of {count} seeds, 95 %",
                kind="ours",
                run=compared,
            )
        )
    return figures


def references(data: Result) -> list[Figure]:
    """Predictors that any model has to beat, measured by SETUP-2."""
    names = {
        "zero": "predict zero",
        "mean": "predict the training mean",
        "least_squares": "least squares on A",
        "least_squares_squared": "least squares on [A, A²]",
        "regression": "a plain regression network",
    }
    figures = []
    for name, title in names.items():
        mse = {family: data.metrics.get(f"mse.{family}.{name}") for family in FAMILIES}
        if all(value is not None for value in mse.values()):
            figures.append(
                Figure(
                    setting=f"{title}, n = {_side(data)}",
                    n=_side(data),
                    mse=_exact(**mse),
                    least_squares=least_squares_errors(data),
                    source="measured here",
                    kind="reference",
                    run=data,
                )
            )
    return figures


def variant(model: Result) -> str:
    name = model.params["variant"]
    return "no negatives" if name == "none" else name


def least_squares_errors(data: Result) -> dict[str, float]:
    """Least squares' errors by family."""
    return {family: data.metrics[f"mse.{family}.least_squares"] for family in FAMILIES}


def _side(data: Result) -> int:
    return int(data.params["problem.n"])


def all_figures(gathered: Gathered, elsewhere: Sequence[Gathered] = ()) -> list[Figure]:
    """Published ones first, then those of this store: this profile's, and models of other profiles."""
    shown = list(PUBLISHED)
    for of_profile in (gathered, *elsewhere):
        data, steps = of_profile.results.get("SETUP-2"), PROFILES[of_profile.at.profile].sampling.inner_steps
        if data is None:
            continue
        shown += [
            reference for reference in references(data) if reference.setting not in {other.setting for other in shown}
        ]
        if "P7-04" in of_profile.results:
            shown += seeds(data, of_profile.results["P7-04"], steps)
        elif "SETUP-3" in of_profile.results:
            shown.append(ours(data, of_profile.results["SETUP-3"], steps))
            shown += [
                ours(data, results["SETUP-3"], steps) for results in of_profile.others.values() if "SETUP-3" in results
            ]
    return shown


def ratios(rows: Iterable[Figure]) -> Any:
    """As rows setting, family, ratio, low, high, kind."""
    import pandas

    return pandas.DataFrame(
        [
            {"setting": figure.setting, "family": family, "kind": figure.kind}
            | dict(zip(("ratio", "low", "high"), figure.ratio(family), strict=True))
            for figure in rows
            for family in FAMILIES
            if figure.ratio(family)
        ]
    )
