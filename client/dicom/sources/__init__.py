"""Other ways in than a folder: a PACS over DIMSE, DICOMweb."""
