"""TRL itself needs Python 3.11; what is held against its trainers is collected from there on."""

import sys

collect_ignore_glob = ["test_torch_*.py"] if sys.version_info < (3, 11) else []
