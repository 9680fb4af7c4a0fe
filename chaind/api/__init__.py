"""The HTTP and WebSocket door of a node: bounds and parses what comes in, shows what is there."""
