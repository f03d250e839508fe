"""Estimators with scikit-learn's interface, on arrays in memory, in one process, without MPI or files.

Named for what they are and not for the library whose interface they have: the same classes serve every caller that
has arrays. They train with the trainer that runs use, on one rank.
"""

from __future__ import annotations

from hpc_sparse.estimators.classifier import SparseMLPClassifier
from hpc_sparse.estimators.recurrent_classifier import SparseRNNClassifier
from hpc_sparse.estimators.regressor import SparseMLPRegressor
from hpc_sparse.estimators.selector import SparseFeatureSelector

__all__ = ["SparseFeatureSelector", "SparseMLPClassifier", "SparseMLPRegressor", "SparseRNNClassifier"]
