"""From messages to rows of PostgreSQL: the tables, the checks of what a column holds, the rows."""
