"""Influence of training problems, and whether it is true.

captum_tracin.py       TracIn (Pruthi et al. 2020) by captum, to hold ours against
figures.py             Figures of P6-02: whether influences hold, which matrices help and hurt, what their removal does
gradients.py           Influence functions (Koh & Liang 2017): which training problems does a prediction rest on?
known_answers.py       Known answers of influence: leave-one-out of ridge regression, explicit curvature
outcomes.py            Outcomes that training has influence on: how right are a score, an energy, a sample?
problem_properties.py  Rank correlations of problem properties with influence
removal.py             Retraining without the training problems that are said to help an outcome most
study.py               Influence functions beside TracIn and gradient similarity on the same networks, validated
validation.py          The linear datamodeling score (Park et al. 2023): is what influences say true?
"""
