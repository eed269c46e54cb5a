"""Durable state: SQLAlchemy tables and migrations; SQLite by default, PostgreSQL for many machines."""
