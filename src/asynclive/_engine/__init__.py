"""A session, and one call through plan, stage, commit, record.

- ``session``: one ``async with`` block: its tasks, its engine, its calls in flight
- ``owner_task``: the task of a session, which is not the task that enters the block
- ``settings``: the checked settings of one session, as a record
- ``interface``: the Engine protocol, which either engine implements
- ``pipeline``: READ THIS FIRST: one call through plan, stage, commit, record
- ``pushing``: the pushes of a session, and the thread that sends
- ``local_engine``: opens the repository, runs calls in threads, closes it
- ``group_commit``: gathers staged artifacts into groups, one lock hold each
- ``record_group``: tracks a group, then records it in dvc.yaml
- ``dvc_thread``: one thread at a time calls DVC
- ``dvc_repro``: inside ``dvc repro``: leaves outputs of the stage to the pipeline
"""
