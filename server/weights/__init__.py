"""Weights out of files that others made: torch archives read without torch, and their names matched to a model's."""
