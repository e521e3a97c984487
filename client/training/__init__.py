"""Local training and evaluation: tensors and weights in, weights and scores out. No DICOM, ledger or network."""
