"""The wire protocols of model providers, as one reads them who stands between client and server."""
