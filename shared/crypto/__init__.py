"""Keys and signatures: identities, the roster, sealed bundles. No I/O: callers read and write the bytes."""
