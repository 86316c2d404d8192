"""Linear probes: what can be read from a layer.

description_length.py  How many examples a probe needs: minimum description length by online coding
figures.py             Figures of P5-01: what can be read off each layer
known_answers.py       Known answers of probes: planted properties, labels that belong to nothing, the trace of A
logistic.py            Logistic probes of a yes-or-no label, with nested cross-validation grouped by problem
ridge.py               Linear probes: what of a property can be read from a representation by an affine map
scores.py              Scores of many probes side by side, and which of them are better than which
study.py               All probes together: every representation, property and control in every landscape
"""
