"""The small package that every chapter of the book imports.

Modules: runtime (seeds, device, threads), imagenet (the frozen trunk), blocks (layers that
several chapters share), losses, data (generated and real sets), train (one plain loop),
metrics, plots, sketch (the drawing of an architecture), flipbook (the interactive control),
evidence (claims measured over seeds), chapters (the notebooks).
"""
