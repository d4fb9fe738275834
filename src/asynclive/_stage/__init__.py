"""One artifact: plan it, copy and hash it, clean up after it."""
