"""How pages become HTML: templating, forms, tables, frames, languages."""
