"""How an energy is trained: losses, negatives, resumption, CUDA graphs, many small ones at once.

ensemble.py          Batched ensembles: many small score networks trained as one program, their weights stacked
graph_trainer.py     Training of energies whose passes nobody has written out: autograd differentiates the losses
shuffled_answers.py  Label randomisation: short trainings, how they are set, and one on answers that mean nothing
trainer.py           Training: denoising score matching, and contrast between real and mined negative samples
"""
