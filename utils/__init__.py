"""The small package that every chapter of the book imports.

Modules: runtime (seeds, device, timer), blocks (layers that several chapters share),
data (generated and real sets), train (one plain loop), metrics, plots, flipbook (the
interactive control), evidence (claims measured over seeds), chapters (the notebooks).
"""
