"""What the tests share, one of each.

project        where things are, and the environment of programs that need our packages
database       a PostgreSQL server, and fresh copies of a migrated database
archive        the real archive of documents, on a folder
agency         a small agency in words of a test's own
month          an agency's month as the DAG runs it: real documents, a real relay
ledger         a month to be hurt, and the processes that send it (worker)
relay          a mail relay that fails as it is told to; troubled_relay, one that fails at random
proxy          cuts, stalls and half-opens connections
invariants     what must hold after every fault
campaign       everything at once, at random
visiting       the pages' app, and browsers of chosen people without a screen
site           the pages with something on them, served
browser        Chromium, and what it is asked of every page
real_airflow   Airflow's API server alone (airflow_server), with either auth manager
running_stack  the whole stack, handled as an operator does
waiting        until something has happened
"""
