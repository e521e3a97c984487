"""What an archive holds: every file once, its header, and the catalog that remembers both."""
