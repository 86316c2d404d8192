"""How good answers are, and what simpler predictors reach.

figures.py                  Figures of the set-up phase: problems, reference predictors, training
figures_training_curves.py  Figure of P7-01 to P7-03: the learning curves of one variant
known_answers.py            Known answers of predictors: planted affine and quadratic maps of A
learning_curve.py           Learning curves: what a model has learned so far, point by point
linear_surrogate.py         Linear surrogates by ridge regression: how much of a network is affine?
metrics.py                  Mean squared error of a model's answers, and how much of them is an affine map of A
predictors.py               Least squares, a regression network and others: what a model has to beat
"""
