"""The command ``asynclive``. Start with ``main``.

- ``main``: the command and its exit codes
- ``log_command``: ``asynclive log``: options and output
- ``log_paths``: ``asynclive log``: logs all paths in one session
- ``push_command``: ``asynclive push``: options, session and output
- ``interruption``: cancels the work of a command on SIGINT, SIGTERM and SIGHUP
- ``doctor_command``: ``asynclive doctor``: output
- ``option_values``: parses and checks the values of options
- ``option_words``: messages of the library, with options in place of Python arguments
- ``output``: stdout and stderr: tables, JSON, error lines
- ``terminal_text``: text that is safe for a terminal
"""
