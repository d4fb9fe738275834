"""An open repository: lock, layout, experiments, facts. Start with ``dvc_repository``.

- ``dvc_repository``: DvcRepository: every call of asynclive into DVC
- ``open_repository``: opens or creates DVC's Repo, its session and layout
- ``repository_lock``: DVC's lock, breaks that leave it to ``dvc`` commands, and their stashes
- ``save_experiment``: ``dvc exp save``, without a change of the workspace
- ``experiment_stages``: the ``dvc commit`` in it
- ``workspace_commit``: a Git commit of the workspace, made with a private index
- ``git_checks``: finds on entering what DVC's Git libraries cannot use
- ``user_environment``: finds what DVC needs of its user and does not get
- ``inspect_repository``: reads facts for the doctor; changes nothing
- ``index_setup``: builds the workspace index for this repository
"""
