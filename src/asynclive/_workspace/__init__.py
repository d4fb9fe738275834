"""The user's working tree, and our temp files next to it."""
