"""The operator's page: runs, hospitals, models. Rendered here, without scripts, nothing loaded from elsewhere."""
