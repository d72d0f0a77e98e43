"""Changes of database rows, as Debezium tells them, as events and as documents."""
