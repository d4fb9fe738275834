"""Progress bars, drawn from events. Start with ``display``.

- ``display``: the thread that draws
- ``artifact_tally``: what there is to show, kept up to date by events
- ``bars``: the lines of one moment
- ``line_layout``: how wide each column may be
- ``screens``: the Screen protocol; notebook and log; which screen fits
- ``terminal``: lines below the cursor of a terminal
- ``units``: bytes and durations for people
"""
