"""Grid search over the density and activation of a sparse network in a scikit-learn pipeline.

Needs the extra `sklearn`; takes a few seconds.
"""

# %% What is needed
from sklearn.datasets import load_digits
from sklearn.feature_selection import VarianceThreshold
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from hpc_sparse import SparseMLPClassifier

# %% Data: handwritten digits of 8 x 8 pixels, which come with scikit-learn
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

# %% The pipeline: pixels that are always 0 go, then a sparse network, which standardises its features itself
pipeline = Pipeline(
    [
        ("varying", VarianceThreshold()),
        ("network", SparseMLPClassifier(hidden=(200, 200), epochs=30, learning_rate=0.05, random_state=0)),
    ]
)

# %% The grid: the density of every layer, and the slope of All-ReLU below zero
grid = {"network__density": [0.05, 0.1, 0.3], "network__alpha": [0.25, 0.6]}
search = GridSearchCV(pipeline, grid, cv=3).fit(X_train, y_train)

# %% Results
results = search.cv_results_
for parameters, mean, deviation in zip(
    results["params"], results["mean_test_score"], results["std_test_score"], strict=True
):
    density, alpha = parameters["network__density"], parameters["network__alpha"]
    print(f"density {density:<4}  alpha {alpha:<4}  accuracy {mean:.1%} +- {deviation:.1%} (3 folds)")

network = search.best_estimator_["network"].network_
print(f"best: {search.best_params_}, {network.n_connections:,} connections")
print(f"result: accuracy {search.score(X_test, y_test):.1%} on {len(y_test)} samples that the search has not seen")
