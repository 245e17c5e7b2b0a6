from vault_lab import vault

__all__ = ["vault"]
