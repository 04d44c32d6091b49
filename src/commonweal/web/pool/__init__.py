"""The pool's pages, live: the pool, its jobs, its machines, how to join, and what is one's own.

One module a page, as on the site of evaluations: a frozen context, made of what the database says, and a template of
the same name. ``pages`` finds the page of a path; ``render`` makes it HTML, whole or in the parts that change;
``newsroom`` and ``events`` tell those to whoever looks. Pages read and decide nothing, and what they show is what
:mod:`commonweal.pool.public` says that anybody may know.
"""
