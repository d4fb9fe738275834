"""Reads, edits and replaces dvc.yaml. Start with ``dvcyaml_file``.

- ``dvcyaml_file``: prepares, replaces or discards a new dvc.yaml
- ``dvcyaml_errors``: what keeps us from dvc.yaml, and what to do
- ``co_writer``: another writer of dvc.yaml in this process; the two take turns
- ``async_files``: aiofiles under anyio, on asyncio and trio
- ``merge_entries``: merges entries into the text; no I/O
- ``document``: the text: its data, its entries, its style
- ``entry_lines``: which lines belong to which entry
- ``rendering``: how new entries are written
- ``plain_rendering``: plain entries written without ruamel.yaml
- ``fast_scan``: finds regular entries by regex, so that they need no parser
"""
