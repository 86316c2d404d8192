"""How every figure looks. Figures of a method stand in its room.

axes.py   Axes for values that span decades, and levels drawn across them
style.py  One style for every figure: colour-blind-safe, readable at half size
"""
