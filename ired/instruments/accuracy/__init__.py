"""How good answers are, and what simpler predictors reach.

figures.py                      Figures of the set-up phase: problems, reference predictors, training
figures_sampling_path.py        Figure of the sampling path: error, change and memory, stage by stage
figures_training_curves.py      Figure of P7-01 to P7-03: the learning curves of one variant
known_answers.py                Known answers of predictors: planted affine and quadratic maps of A
known_answers_sampling_path.py  Known answers of the sampling path: contractions, samplers that spoil, forget, copy
learning_curve.py               Learning curves: what a model has learned so far, point by point
linear_surrogate.py             Linear surrogates by ridge regression: how much of a network is affine?
metrics.py                      Mean squared error of a model's answers, and how much of them is an affine map of A
predictors.py                   Least squares, a regression network and others: what a model has to beat
sampling_path.py                Error of the clean estimate along the sampling path, its memory, where to stop
"""
