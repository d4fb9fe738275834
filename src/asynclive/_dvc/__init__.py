"""The only code that imports DVC. It blocks; one worker thread runs it at a time.

- ``dvc_errors``: translates DVC's errors into those of asynclive
- ``process_guard``: one thread in DVC at a time; importing DVC changes no process setting
- ``tracking``: commits a group with DVC's own classes
- ``repository``: opens the repository, and calls DVC in it
- ``remote``: remotes as DVC configures them, outputs to push, DVC's own way to send

DVC's classes write DVC's files. Work that needs no lock is done before, without DVC. So are two
checks that DVC can only make for all targets at once: which outputs overlap, and which paths Git
tracks. The code follows ``dvc.repo.add`` and ``dvc.output.Output.add`` in their order.
"""
