"""Errors, units, quantities, files, specifications, ledgers: every package builds on these, and they on none."""
