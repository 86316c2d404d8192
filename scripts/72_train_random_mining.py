"""P7-02: what do random negatives add?

The models of several seeds whose energy is also contrasted with random wrong answers: noised threefold,
brought back to a clean estimate, noised as the right one is (Du et al. 2024, eq. 6; weight ½). All else
is as in P7-01: problems, noise, first weights, steps. What counts against: as in P7-01; whether they do
anything is P7-04's question.
"""

from ired.experiments.mining import CRITERIA, present
from ired.lab.command import command


@command("P7-02", criteria=CRITERIA)
def main(run):
    present(run, "random")


if __name__ == "__main__":
    main()
