"""A process kept apart (bubblewrap, a container, or limits alone), for the agent and for the clean room alike."""
