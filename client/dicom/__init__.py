"""DICOM archives in, canonical tensors out."""
