"""Who may come in, and what nobody may do: login, form tokens, headers."""
