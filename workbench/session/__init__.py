"""A session as a log of events: vocabulary, log, state, store, snapshots, cast, clock. Imports nothing of ours."""
