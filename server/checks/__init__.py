"""What the doctor of the coordinator looks at, one small function per thing."""
