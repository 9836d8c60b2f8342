"""Classifiers compared on crops that neither trained nor validated: the papers' table.

`heldout` cuts the test crops, `trials` trains each choice once and keeps it, `calls` times one call, `statistics` has
the intervals, `scores` the figures, `table` and `report` show them, `plots` draws them.
"""
