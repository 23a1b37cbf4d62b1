"""Programs that run inside the sandbox: the guest, the agent commands, the start-up files of the shell."""
