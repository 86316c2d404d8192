"""How sure an energy is of its answer: error bars from its curvature, and whether they are right.

figures.py        Figures of error bars: calibration, coverage, ranking of problems
known_answers.py  Known answers of error bars: exact on a planted Gaussian posterior, 0 on the ideal energy
reliability.py    Reliability of error bars: are they as large as the errors, do intervals cover, do they rank problems?
study.py          Error bars of several energies, compared problem by problem
tweedie.py        Error bars by the second-order Tweedie formula: the curvature as the covariance of the answer
"""
