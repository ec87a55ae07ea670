"""Generator of held-out jobs: a machine of its own, that shares no code with loadpath.

Host threads are Python generators with a clock of their own; what they launch goes to the queues of
streams, which an event loop serves; a communication kernel holds its stream until all its members
have begun. Nothing here is a graph, a longest path or a table of tasks: what an audit finds again,
it finds in what such a machine records.
"""
