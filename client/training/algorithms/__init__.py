"""What a hospital does in its steps beside them, one file for each algorithm that asks for anything."""
