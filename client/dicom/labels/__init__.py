"""What is known of the images: tables, structured reports, masks."""
