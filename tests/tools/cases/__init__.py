"""Golden cases, one function each; `tests/tools/registry.py` says how to write one."""
