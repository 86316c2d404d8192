"""Intervals, corrections and tables: how sure a number is.

auroc.py          The area under the ROC curve, with DeLong's covariance
intervals.py      Intervals, tests and corrections: how sure a number is
known_answers.py  Known answers of intervals and corrections: coverage on simulated data, numbers by hand
power.py          Power of the paired t-test, and the effect that so many units see
regression.py     Least squares and ridge regression
spectra.py        Spectra in a number: inertia, participation ratio, entropy rank
tables.py         Long tables of measurements, one row a point, condensed to means with intervals
"""
