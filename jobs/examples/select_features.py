"""Feature selection by the strength of a sparse network's inputs, beside a test of each feature alone.

Needs the extra `sklearn`; takes some ten seconds. Uses `madelon.npz` where HPC_SPARSE_DATA names a folder that has it.
"""

# %% What is needed
import os
from pathlib import Path

import numpy as np
from sklearn.datasets import make_classification
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hpc_sparse import SparseFeatureSelector

N_KEPT = 20

# %% Data: Madelon, where 20 of 500 features carry signal; or a synthetic problem of the same design
file = Path(os.environ.get("HPC_SPARSE_DATA", "")) / "madelon.npz"
if file.is_file():
    print("data: Madelon")
    with np.load(file, allow_pickle=False) as archive:
        X_train, y_train, X_test, y_test = (archive[name] for name in ("x_train", "y_train", "x_valid", "y_valid"))
else:
    print("data: synthetic, because $HPC_SPARSE_DATA has no madelon.npz")
    X, y = make_classification(2000, 500, n_informative=5, n_redundant=15, n_clusters_per_class=16, random_state=0)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

# %% The same classifier behind each way to choose features
selectors = {
    "all features": "passthrough",
    "best F values": SelectKBest(f_classif, k=N_KEPT),
    "sparse network": SparseFeatureSelector(n_features_to_select=N_KEPT, random_state=0),
}
accuracies = {}
for name, selector in selectors.items():
    pipeline = make_pipeline(StandardScaler(), selector, KNeighborsClassifier()).fit(X_train, y_train)
    accuracies[name] = pipeline.score(X_test, y_test)
    print(f"{name:<15} accuracy {accuracies[name]:.1%}")

# %% The features that the network holds on to, strongest first
print("strongest features:", *np.argsort(pipeline[1].ranking_)[:N_KEPT])
print(f"result: accuracy {accuracies['sparse network']:.1%} with {N_KEPT} of {X_train.shape[1]} features")
