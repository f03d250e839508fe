"""Repeated stratified cross-validation: one data set file for each fold."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np

from hpc_sparse.importers.arrays.npz import import_npz
from studies.catalogue import Experiment
from studies.data_sets import DATA, foreign_file

FOLDS = DATA / "folds"


def make_folds(experiment: Experiment, n_repeats: int) -> list[list[Path]]:
    """Data sets of every repetition's folds, made where they are missing; their statistics are of the training part.

    The divisions are those of scikit-learn's RepeatedStratifiedKFold with random_state 0, so that more repetitions
    leave the first ones as they are.

    Returns
    -------
    files : list of list of Path
        One list of ``experiment.n_folds`` files for each repetition.
    """
    files = [
        [FOLDS / f"{experiment.name}-{repeat}-{fold}.h5" for fold in range(experiment.n_folds)]
        for repeat in range(n_repeats)
    ]
    if not all(file.exists() for repeat in files for file in repeat):
        _write_folds(experiment, files)
    return files


def _write_folds(experiment: Experiment, files: list[list[Path]]) -> None:
    from sklearn.model_selection import RepeatedStratifiedKFold

    source = foreign_file(experiment)
    with np.load(source) as archive:
        arrays = {name: archive[name] for name in archive.files}
    division = RepeatedStratifiedKFold(n_splits=experiment.n_folds, n_repeats=len(files), random_state=0)
    with warnings.catch_warnings():
        # Classes with fewer samples than folds: some folds then test none of them.
        warnings.filterwarnings("ignore", "The least populated class")
        parts = list(division.split(arrays["label"], arrays["label"]))
    FOLDS.mkdir(parents=True, exist_ok=True)
    for number, (train, test) in enumerate(parts):
        repeat, fold = divmod(number, experiment.n_folds)
        if not files[repeat][fold].exists():
            title = f"{source.stem}, repetition {repeat}, fold {fold} of {experiment.n_folds}"
            _write_fold(source.name, arrays | {"train": train, "test": test}, files[repeat][fold], title, experiment)


def _write_fold(name: str, arrays: dict[str, np.ndarray], target: Path, title: str, experiment: Experiment) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        np.savez(path, **arrays)
        import_npz(path, target, title=title, log2="--log2" in experiment.importing)
