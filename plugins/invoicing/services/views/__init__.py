"""What people look at: cycles, reports, messages, previews, simulation. Nothing here changes anything."""
