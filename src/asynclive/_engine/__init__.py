"""A session, and one call through plan, stage, commit, record.

- ``interface``: what a session asks of either engine; Listener
- ``local_engine``: opens the repository, runs calls in threads, closes it
- ``group_commit``: gathers staged artifacts into groups, one lock hold each
- ``record_group``: tracks a group, then records it in dvc.yaml
- ``dvc_repro``: inside ``dvc repro``: leaves outputs of the stage to the pipeline
"""
