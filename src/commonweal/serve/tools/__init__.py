"""Tools that the hub runs for a model: arithmetic, SQL on a user's database, passages of a user's documents.

workbench = Workbench(desk=desk, library=library, databases=databases)     # one a hub process
equipped = workbench.equipped(wanted(body_tools), model.window)            # a Desk, for one request
async for event in equipped.stream(ask): ...                               # the hub runs what the model calls
equipped.told()                                                            # runs, passages, citations
"""
