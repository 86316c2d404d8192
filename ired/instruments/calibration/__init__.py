"""All known answers that the instruments must recover.

checks.py    Known answers: every instrument on energies whose landscapes are known in closed form
figures.py   How well the instruments recover known answers
registry.py  All known answers, by phase, each in the file of its instrument's calibration
"""
