"""Influence of training problems, and whether it is true.

captum_tracin.py  captum's TracIn, to hold ours against
figures.py        Figures of P6-02: whether influences hold, which matrices help and hurt, what their removal does
gradients.py      Which training problems a prediction rests on: influence by gradients of the weights
known_answers.py  Known answers of influence: leave-one-out of ridge regression, explicit curvature
outcomes.py       What is asked of an energy about a problem, as one number: how right is its score, its energy
removal.py        What becomes of an outcome without the training problems that are said to help it most?
study.py          All methods of influence on the same networks, their validation
validation.py     Is what influences say about training data true?
"""
