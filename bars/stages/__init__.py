"""Procedures of the chain: search, derive, retrain, evaluate."""
