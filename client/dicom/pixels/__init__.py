"""From the bytes of an object to the canonical tensor's values."""
