"""The paper and every seed, reproduced: ``python -m experiments NAME`` draws a figure and leaves its numbers beside it.

One module an experiment. The first line of its docstring is what it asks or claims; ``run`` measures, draws and returns
what stands in ``summary.json``. Modules that begin with an underscore are shared by several.
"""
