"""Keys of people: derivation, building and signing of transactions."""
