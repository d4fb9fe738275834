"""The only code that imports DVC. It blocks, in one worker thread at a time.

- ``dvc_errors``: DVC's errors as ours
- ``process_guard``: one thread in DVC at a time; its import changes nothing in the process
- ``tracking``: commits a group with DVC's own classes
- ``repository``: the repository, opened

DVC's classes write DVC's files. asynclive does the work that needs no lock before, and answers
the questions that DVC can only answer for all targets at once (which outputs overlap, which paths
Git tracks). The code follows ``dvc.repo.add`` and ``dvc.output.Output.add`` in their order.
"""
