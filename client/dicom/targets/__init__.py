"""What a hospital knows of its images beyond their pixels, in the form that each kind of task wants."""
