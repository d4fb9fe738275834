"""A dvclive.Live used together with asynclive, and DVC experiments.

- ``experiment``: the DVC experiment that a session ends in
- ``experiment_files``: which untracked files that experiment holds
- ``adopted_live``: live=: the dvclive.Live whose settings are adopted
"""
