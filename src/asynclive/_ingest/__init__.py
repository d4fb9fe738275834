"""One file: its bytes into the cache, and the file that the workspace gets."""
