"""Files that people bring: any usual form of a table, row by row, in constant memory (tables.py)."""
