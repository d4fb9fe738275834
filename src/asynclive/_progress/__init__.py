"""Progress bars, drawn from events. Start with ``display``.

- ``display_choice``: whether progress is shown, without importing the display
- ``display``: the thread that draws
- ``artifact_tally``: counts and rows of the artifacts and pushes, updated by events
- ``bars``: the lines that show the artifacts of one moment
- ``line_layout``: the width of each column, and the text of a line
- ``screens``: the Screen protocol, notebooks and log files; finds out what stderr is
- ``terminal``: draws lines below the cursor of a terminal
- ``units``: sizes and durations as text
"""
