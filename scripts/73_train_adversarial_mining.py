"""P7-03: what do negatives add that the energy itself likes?

The models of several seeds whose random negatives are first moved two steps down the energy (Du et al.
2024, alg. 1), so that they lie where the landscape is wrong. All else is as in P7-01: problems, noise,
first weights, steps; a step costs two to three times as much. What counts against: as in P7-01; whether
they do anything is P7-04's question.
"""

from ired.experiments.mining import CRITERIA, present
from ired.lab.command import command


@command("P7-03", criteria=CRITERIA)
def main(run):
    present(run, "adversarial")


if __name__ == "__main__":
    main()
