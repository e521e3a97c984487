"""Where frames lie in the patient, and which of them make a volume."""
