"""What is raised when the database can't be used."""


class StorageError(Exception):
    """The study's database can't be used. The message says what, where, why and the way out."""


class NothingYetError(StorageError):
    """There is no study because nothing was ever kept there: no file, or none of Optuna's tables."""
