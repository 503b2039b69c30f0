"""What is raised when the database can't be used."""


class StorageError(Exception):
    """The study's database can't be used. The message says what, where, why and the way out."""
