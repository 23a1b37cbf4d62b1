"""The step loop as a state machine, and the control over it. Couples an agent with an episode; needs no screen."""
