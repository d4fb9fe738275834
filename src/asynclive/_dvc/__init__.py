"""The one package that imports DVC. Synchronous; called in one worker thread at a time.

DVC's classes write DVC's files. What asynclive does itself is the work that needs no lock,
before (the bytes are in the cache) and the questions that DVC can only answer for all
targets at once (who overlaps, what Git tracks). It follows ``dvc.repo.add`` and
``dvc.output.Output.add``, whose order of events it keeps.
"""
