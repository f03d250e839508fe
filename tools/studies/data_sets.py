"""Making the data sets of the experiments where they are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import typer

from hpc_sparse.config import find_data
from hpc_sparse.errors import ConfigError
from studies.catalogue import Experiment
from studies.runs import HPC_SPARSE, ROOT

DATA = ROOT / "data"


def make_data_set(experiment: Experiment, config: Path) -> None:
    """Import the data set into ``data/`` unless the configuration, looked at from the root, finds it already."""
    target = DATA / f"{experiment.name}.h5"
    try:
        find_data(target.name, config)
    except ConfigError:
        _import(experiment, target)


def _import(experiment: Experiment, target: Path) -> None:
    DATA.mkdir(exist_ok=True)
    places = {"{source}": str(foreign_file(experiment)), "{target}": str(target)}
    command = [HPC_SPARSE, "data", "import", *(places.get(word, word) for word in experiment.importing)]
    if subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
        raise typer.Exit(2)


def foreign_file(experiment: Experiment) -> Path:
    """Source file of the data set; the program ends if it is missing."""
    if experiment.importing[0] == "fashion-mnist":
        found = subprocess.run([str(ROOT / "tools" / "fashion_mnist")], check=False, stdout=subprocess.PIPE, text=True)
        if found.returncode:
            raise typer.Exit(2)
        return Path(found.stdout.strip())
    folder = os.environ.get("HPC_SPARSE_DATA", "")
    path = Path(folder) / experiment.source
    if experiment.source and not path.is_file():
        print(
            f'experiments: error: {experiment.name}: no file {experiment.source} in HPC_SPARSE_DATA = "{folder}", and '
            f"no data/{experiment.name}.h5",
            file=sys.stderr,
        )
        raise typer.Exit(2)
    return path
