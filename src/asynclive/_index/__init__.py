"""What DVC tracks in the workspace, kept up to date; imports no DVC."""
