"""The thing that is studied: problems, annealed landscapes, sampling; energies and training in rooms of their own.

checkpoint.py        Models on disk: safetensors with their configuration in the header, written atomically
coordinates.py       Diffusion coordinates: how an inverse matrix becomes a vector, and back
problems.py          Matrix inversion problems: where they come from, and what properties they have
protocol.py          What an energy offers, so that every instrument works on every energy
reference.py         Reference energies in closed form, that every instrument is calibrated on
sampling.py          Annealed inference: a guess walks down ten landscapes to the answer (Du et al. 2024, alg. 2)
schedule.py          The noise schedule of the annealed landscapes: how far landscape k is from the clean answer
shifted_problems.py  Problems unlike those of training: families of shifts, and matrices that no inverse helps with
weight_edits.py      Weight ablation and randomisation: copies of an energy with a part of its weights changed
"""
