"""The dashboard in a real browser. A package, so that its devnet ends with its last test."""
