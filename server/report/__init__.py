"""The honest report of a run: result.json and report.html."""
