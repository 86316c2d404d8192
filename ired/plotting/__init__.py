"""How every figure looks. Figures of a method stand in its room.

axes.py       Axes: ticks in plain numbers, values that span decades, rows with names, levels drawn across
log_scale.py  Logarithmic scales whose ticks are plain text
plots.py      The few kinds of picture that all figures are made of
style.py      One style for every figure: colour-blind-safe, readable at half size
"""
