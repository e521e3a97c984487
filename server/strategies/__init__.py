"""How a round's mean update moves the model."""
