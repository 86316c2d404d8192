"""P2-04: can fc3 be written as few features out of many?

Sparse autoencoders (L1, TopK, BatchTopK, JumpReLU; three seeds each, trained together) on the
activations after fc3, judged on held-out problems: by variance explained, and by what is left of
energy gaps, score and sampled inverse when the reconstruction takes the layer's place. Beside them, at
equal sparsity: PCA, ICA, the neurons themselves, and a random dictionary with a trained encoder.
What counts against: as much recovered from random directions, or dictionaries that every seed draws anew.
"""

from ired.experiments.dictionaries import CRITERIA, PARAMS, study_layer
from ired.lab.command import command


@command("P2-04", criteria=CRITERIA, **PARAMS)
def main(run):
    study_layer(run, "fc3")


if __name__ == "__main__":
    main()
