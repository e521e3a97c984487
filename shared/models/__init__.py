"""The closed registry of models a study may name."""
