"""``python -m hpc_sparse`` is the command ``hpc-sparse``."""

from hpc_sparse.cli.app import main

if __name__ == "__main__":
    main()
