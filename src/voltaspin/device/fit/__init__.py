"""Fits of a junction to measurements."""
