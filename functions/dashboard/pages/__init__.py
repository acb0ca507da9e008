"""Pages: a module for each, with its handlers; `functions.dashboard.page_table` has their paths."""
