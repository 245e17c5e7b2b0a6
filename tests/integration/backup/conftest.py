from backup_lab import backups

__all__ = ["backups"]
