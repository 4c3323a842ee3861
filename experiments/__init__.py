"""Reproductions of the paper and every seed: ``python -m experiments NAME`` draws a figure and writes its numbers.

There is one module per experiment. The first line of its docstring states its question or claim; ``run`` measures,
draws and returns what goes into ``summary.json``. Several experiments share the modules that begin with an underscore.
"""
