"""TRL itself needs Python 3.11; what is held against its trainers is collected from there on."""

import sys

from vlmtune.backends.mlx.blas import prefer_openblas

# MLX binds to its BLAS when it is first imported, and test files import it when they are collected.
prefer_openblas()

collect_ignore_glob = ["test_torch_*.py"] if sys.version_info < (3, 11) else []
