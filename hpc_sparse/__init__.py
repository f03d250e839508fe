"""Truly sparse training of neural networks on CPUs, from a laptop to a cluster.

Importing the package starts nothing: no MPI, no compilation, no change of the environment.
"""

from __future__ import annotations

__version__ = "0.1.0"
