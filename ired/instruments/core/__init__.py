"""What several methods share: states to look at, directions to move along, paths, patches.

directions.py         Directions in a network: what one experiment finds and another moves along
energy_gap.py         The energy of states above the right answer, or above their own mean
patching.py           A layer's activations replaced by something else: what is left of energy, score and answers
random_directions.py  Isotropic, covariance-matched and orthogonal random directions, and random rotations
sampler.py            Samplers: what instruments are handed to sample from any energy, and one that is exact on ideal ones
states.py             Where the instruments look: answers, points around them, bases of the space that states live in
trajectories.py       Sampling paths: every state that a sampler passes, kept as one tensor
"""
