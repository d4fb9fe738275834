"""What DVC knows of remotes, and how it sends to those that asynclive does not know itself."""
