"""Linear probes: what can be read from a layer.

description_length.py  Minimum description length by online coding: how many examples a probe needs
figures.py             Figures of P5-01: what can be read off each layer
known_answers.py       Known answers of probes: planted properties, labels that belong to nothing, the trace of A
logistic.py            Logistic probes of a yes-or-no label, with nested cross-validation grouped by problem
ridge.py               Linear probes: what of a property an affine map reads from a layer
scores.py              Corrected resampled t-tests of probes side by side: which are better than which?
study.py               All probes of P5-01 together: every representation, property and control; its verdicts
"""
