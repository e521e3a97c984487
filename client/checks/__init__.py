"""What the doctor of a hospital looks at, one small function per thing."""
