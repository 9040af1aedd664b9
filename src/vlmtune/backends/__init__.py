"""Engines. Each package here offers NAME, check() and load_generator(); `select` chooses one."""
