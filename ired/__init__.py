"""Interpretability of energy-based reasoning (IRED) on matrix inversion."""
