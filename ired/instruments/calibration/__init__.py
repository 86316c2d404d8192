"""All known answers that the instruments must recover. The topmost room: it knows all others.

figures.py   Figure of calibration: how well the instruments recover known answers
registry.py  All known answers, by phase: the list of what every room's known_answers check
study.py     Calibration as a whole: the known answers of all instruments as one table, and a verdict on each
"""
