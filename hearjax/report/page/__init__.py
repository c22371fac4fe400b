"""The report: one page of a work directory, with all that it needs inside."""
