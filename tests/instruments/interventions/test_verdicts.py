"""Each verdict has its case."""

import numpy as np
import pandas
import pytest

from ired.instruments.interventions import verdicts


@pytest.mark.parametrize(
    "concept, beyond, carries, backwards, specific, expected",
    [
        ("large_norm", True, True, False, True, verdicts.SPECIFIC),
        ("large_norm", False, True, False, False, verdicts.CAUSAL),
        ("large_norm", True, False, True, True, verdicts.BACKWARDS),
        ("large_norm", True, False, False, True, verdicts.OTHERWISE),
        ("large_norm", False, False, False, True, verdicts.NOTHING),
        ("", True, False, False, False, verdicts.CAUSAL),
        ("", False, False, False, False, verdicts.NOTHING),
    ],
)
def test_each_verdict_has_its_case(concept, beyond, carries, backwards, specific, expected):
    assert verdicts.verdict(concept, beyond, carries, backwards, specific) == expected


def test_the_table_joins_what_is_known_of_each_direction():
    directions = pandas.DataFrame(
        {
            "name": ["a", "b", "c"],
            "source": ["concept", "concept", "gradient"],
            "space": "fc2",
            "landscape": 1,
            "concept": ["large_norm", "noisy_answer", ""],
            "evidence": 0.9,
            "measure": "AUROC",
        }
    )

    def part(names, beyond, difference, p):
        return pandas.DataFrame(
            {"direction": names, "beyond": beyond, "difference": difference, "p_adjusted": p, "rank": 1, "placebo": 0.1}
        )

    moved = part(["a", "b", "c"], [True, True, False], 1.0, 0.01)
    error = part(["a", "b", "c"], [True, True, False], 1.0, 0.01)
    carried = part(["a", "b"], [True, False], [1.0, -1.0], 0.01)
    examined = pandas.DataFrame(
        {
            "direction": ["a", "b"],
            "specific_low": [0.1, 0.1],
            "follows_less": [False, False],
            "lost": [0.1, np.nan],
            "lost_p": [0.2, np.nan],
            "mediates": [True, False],
            "mediates_p": [0.01, np.nan],
            "mediated": [0.4, np.nan],
            "mediated_low": [0.3, np.nan],
        }
    )
    table = verdicts.direction_verdicts(directions, moved, carried, error, examined)
    assert table["verdict"].tolist() == [verdicts.SPECIFIC, verdicts.BACKWARDS, verdicts.NOTHING]
    assert table["necessary"].tolist() == [False, True, False]
    assert table["mediates"].tolist() == [True, False, False] and not table["sufficient"].any()
    unsure = examined.assign(mediates_p=[0.2, np.nan], mediated_low=[0.6, np.nan])
    unsure = verdicts.direction_verdicts(directions, moved, carried, error, unsure)
    assert not unsure["mediates"].any() and not unsure["sufficient"].any()
    nobody = verdicts.direction_verdicts(directions[2:], moved, carried[:0], error, examined[:0])
    assert nobody["verdict"].tolist() == [verdicts.NOTHING]
