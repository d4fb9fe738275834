"""The DVC cache on disk, and hashes kept from earlier runs."""
