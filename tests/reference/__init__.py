"""The reference decoder: commit-log segments in plain, slow, readable Python, used as the oracle of
the compiled one.

Start reading at `segment.py`; `docs/commitlog-format.md` is the text that these modules spell out.
"""
