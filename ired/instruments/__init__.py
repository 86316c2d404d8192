"""Instruments that study energy landscapes: pure functions on tensors and energies."""
