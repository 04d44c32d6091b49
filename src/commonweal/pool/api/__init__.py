"""The hub's HTTP routes: they check, open one transaction, call one function, and answer."""
