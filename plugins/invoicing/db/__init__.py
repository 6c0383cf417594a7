"""The business database: connections, migrations, and one repository module a noun."""
