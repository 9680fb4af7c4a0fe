"""Keys of people and what they do with them: keystore, derivation, payments, the API's client."""
