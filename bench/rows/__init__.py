"""One module for each group of rows; each function takes sizes and an empty folder, and gives lines of the table."""
