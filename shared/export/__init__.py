"""A finished model in the formats of others: one file for each format, behind base.py's two functions."""
