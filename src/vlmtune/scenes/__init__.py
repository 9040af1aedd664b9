"""The synthetic spatial world: an endless, exact source of spatial questions.

It takes the place of data that was never released (the two billion rows of SpatialVLM, Chen et al.
2024, arXiv:2401.12168): every row is computed from (seed, split, index), so it costs no storage,
any worker can draw any row, and every answer is true by construction.
"""
