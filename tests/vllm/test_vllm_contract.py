"""What every backend's Generator promises holds for vLLM too: the same tests, taken from there."""

import importlib.util
from pathlib import Path

PLACE = Path(__file__).parents[1] / "backends" / "test_generator_contract.py"
_found = importlib.util.spec_from_file_location("generator_contract", PLACE)
assert _found is not None
assert _found.loader is not None
_contract = importlib.util.module_from_spec(_found)
_found.loader.exec_module(_contract)
globals().update({name: test for name, test in vars(_contract).items() if name.startswith("test_")})
