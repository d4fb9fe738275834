"""The repository, opened: lock, layout, experiments, facts. Start with ``dvc_repository``.

- ``dvc_repository``: DvcRepository: everything that asynclive asks of DVC
- ``open_repository``: opens or initialises DVC's Repo, its session and layout
- ``repository_lock``: DVC's lock, and breaks in which ``dvc`` commands get it
- ``save_experiment``: ``dvc exp save``, in a process
- ``inspect_repository``: facts for the doctor; changes nothing
- ``index_setup``: builds the workspace index for this repository
"""
