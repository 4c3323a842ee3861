"""Figures from results. Nothing here computes a result; each function takes one and returns a matplotlib figure."""
