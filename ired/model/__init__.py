"""The thing that is studied: problems, energy, annealed landscapes, sampling and training."""
