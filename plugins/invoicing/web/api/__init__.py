"""The JSON API: thin, over the services that the pages and the command line use."""
