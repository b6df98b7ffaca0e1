"""The rows of the table, a module for each group. A function takes sizes and an empty folder, and returns lines."""
