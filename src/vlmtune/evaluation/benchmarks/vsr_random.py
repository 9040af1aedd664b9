"""VSR's random split: 2,195 test questions, most over pictures that its train split has too."""

from vlmtune.evaluation.benchmarks.vsr import VSR, from_hub

NAME = "VSR-random"
BENCHMARK = VSR(name=NAME, source=from_hub(NAME, repository="cambridgeltl/vsr_random"))
