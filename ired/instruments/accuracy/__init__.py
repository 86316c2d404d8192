"""How good answers are, and what simpler predictors reach.

figures.py                  Figures of the set-up phase: problems, reference predictors, training
figures_training_curves.py  Figure of P7-01 to P7-03: the learning curves of one variant
known_answers.py            Known answers of predictors: planted affine and quadratic maps of A
learning_curve.py           What a model has learned so far: the points of a learning curve
linear_surrogate.py         How much of a network is an affine map of the problem?
metrics.py                  How good a model's answers are, and how much of them is an affine map of A
predictors.py               Predictors of A⁻¹ that know no landscapes: what every accuracy is measured against
"""
