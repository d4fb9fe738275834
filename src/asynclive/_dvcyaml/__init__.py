"""Reads, edits and replaces dvc.yaml. Start with ``dvcyaml_file``.

- ``dvcyaml_file``: prepares, replaces or discards a new dvc.yaml
- ``dvcyaml_errors``: translates errors into DvcYamlError, with what to do
- ``co_writer``: another writer of dvc.yaml in this process; one writes at a time
- ``async_files``: small files without blocking the event loop, on asyncio and trio
- ``merge_entries``: merges entries into the text; no I/O
- ``document``: a dvc.yaml that was read: its text, data, entries and style
- ``entry_lines``: which lines belong to which entry
- ``rendering``: writes new entries in the style of the document
- ``plain_rendering``: writes plain entries without ruamel.yaml
- ``fast_scan``: finds regular entries by regex, so that no YAML parser reads them
"""
