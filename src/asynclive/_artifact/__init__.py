"""The records that each step makes of an artifact, and the checks of arguments. No I/O.

Start with ``request``.

- ``request``: ArtifactRequest: the checked arguments of one call
- ``metadata``: checks and copies names, texts, labels and meta
- ``plan``: ArtifactPlan: the files and directories of one artifact
- ``placement``: Placement: the changes of the workspace that wait for the commit
- ``push_policy``: PushPolicy: how a session pushes, checked
- ``push_records``: the records of a push: PushUnit -> PushResult
- ``push_target``: PushTarget: what a caller of ``push`` names, checked
- ``records``: StagedArtifact -> TrackedArtifact -> LoggedArtifact
"""
