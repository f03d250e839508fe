"""One network twice: by an estimator, and as a sparse layer in a training loop of PyTorch, where AdamW's states follow.

Needs the extra `sklearn`, and PyTorch for the second, which is left out without it; takes a few seconds.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from hpc_sparse import SparseMLPClassifier

# %% Handwritten digits of 64 pixels; 1,000 hidden neurons, of which each reads 8 pixels
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split((X / 16).astype(np.float32), y, random_state=0)

# %% By an estimator
own = SparseMLPClassifier(hidden=(1000,), density=8 / 64, epochs=20, random_state=0).fit(X_train, y_train)
print(f"result: accuracy {100 * own.score(X_test, y_test):.1f}% by the estimator")

# %% In a loop of PyTorch, between layers of its own
if find_spec("torch"):
    import torch

    from hpc_sparse.interop import SparseLinear

    torch.manual_seed(0)
    hidden = SparseLinear(64, 1000, fan_in=8)
    model = torch.nn.Sequential(hidden, torch.nn.ReLU(), torch.nn.Linear(1000, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    features, labels = torch.from_numpy(X_train), torch.from_numpy(y_train)
    for _ in range(20):
        for batch in torch.randperm(len(features)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(features[batch]), labels[batch]).backward()
            optimizer.step()
        hidden.evolve(optimizer, drop_fraction=0.3)  # 30 % of the connections are replaced
    with torch.no_grad():
        accuracy = (model(torch.from_numpy(X_test)).argmax(1).numpy() == y_test).mean()
    print(f"result: {100 * accuracy:.1f}% in PyTorch, {hidden.n_connections:,} of {64 * 1000:,} connections")
else:
    print("PyTorch is not installed: that part is left out")
