"""Durable state in SQL: SQLite by default, PostgreSQL for many machines."""
