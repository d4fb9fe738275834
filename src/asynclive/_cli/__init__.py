"""The command ``asynclive``. Start with ``main``.

- ``main``: the command and its exit codes
- ``log_command``: ``asynclive log``: options and output
- ``log_paths``: ``asynclive log``: logs all paths in one session; signals
- ``doctor_command``: ``asynclive doctor``: output
- ``option_values``: option strings as Python values
- ``option_words``: advice of the library in the words of options
- ``output``: stdout and stderr: tables, JSON, complaints
- ``terminal_text``: text that is safe for a terminal
"""
