"""Random tables and mutations from a seed, valid to the letter, for comparing decoders with
one another.
"""
