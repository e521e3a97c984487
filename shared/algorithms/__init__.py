"""What both ends must agree on of an algorithm: its options, what travels, and which studies it cannot do."""
