"""Documents: Jinja2 templates into invoice PDFs and messages.

`document` is what a template sees, `templates` what a template is, `invoice` and `mail` turn the two into a
PDF and a message. Templates run in a child process (`sandbox` holds its reins, `worker` is the child), so
that one that loops forever or fills the memory costs its own document and nothing else.
"""
