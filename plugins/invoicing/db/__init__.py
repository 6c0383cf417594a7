"""The business database: connections, statements, migrations, the audit trail."""
