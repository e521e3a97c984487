"""What a hospital should know of its archive before anybody trains on it."""
