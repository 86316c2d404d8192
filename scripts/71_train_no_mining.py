"""P7-01: what does IRED learn from denoising alone?

The models of several seeds, trained without negatives (the denoising loss of Du et al. 2024, eq. 5), one
child run for each: same problems, noise, first weights and budget as in P7-02 and P7-03. They are
SETUP-3's, found by their keys. What counts against: a dead score, a seed that learned nothing, answers
no better than least squares, or inner descent steps that lead away from the answer.
"""

from ired.experiments.mining import CRITERIA, present
from ired.lab.command import command


@command("P7-01", criteria=CRITERIA)
def main(run):
    present(run, "none")


if __name__ == "__main__":
    main()
