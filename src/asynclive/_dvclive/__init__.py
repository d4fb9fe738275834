"""DVC experiments, and a dvclive.Live that is used together with asynclive.

- ``experiment``: the DVC experiment that a session ends in
- ``experiment_files``: which untracked files that experiment holds
- ``adopted_live``: live=: the dvclive.Live that also gets the logged artifacts
"""
