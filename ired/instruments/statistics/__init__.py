"""Intervals, corrections and tables: how sure a number is.

intervals.py  Intervals, tests and corrections: how sure a number is
tables.py     Long tables of measurements, one row a point, condensed to means with intervals
"""
