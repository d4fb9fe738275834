"""A session, and one call through plan, stage, commit, record."""
