"""What answers an agent: chat models of providers, and policies that need none."""
