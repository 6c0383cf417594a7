"""Who is billed, and by which rules: import, tenants, settings, templates and their versions."""
