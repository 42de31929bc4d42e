"""Reports: pages, tables and numbers as people read them."""
