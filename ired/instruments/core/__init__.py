"""What several methods share: states to look at, directions to move along, paths, patches, checks.

check.py               Known answers as checks: what was expected, what was measured, how far apart the two may be
directions.py          Directions in a network: what one experiment finds and another moves along
energy_gap.py          The energy of states above the right answer, or above their own mean
patching.py            Activation patching: a layer's activations replaced by something else, the rest as it is
random_directions.py   Isotropic, covariance-matched and orthogonal random directions, and random rotations
reference_energies.py  Energies whose landscapes are known in closed form, on which instruments are calibrated
sampler.py             What an instrument is handed in order to sample from any energy; one that is exact on ideal ones
states.py              Where the instruments look: answers, points around them, bases of the space that states live in
trajectories.py        Sampling paths: every state that a sampler passes, kept as one tensor
"""
