"""A dvclive.Live used together with asynclive, and DVC experiments."""
