"""What was asked, what was recorded? Optuna's storage, SQLAlchemy and figures; never imports TensorFlow."""

import logging

# Whoever wants our log sets handlers: without one, Python would print warnings between what a command prints.
logging.getLogger(__name__).addHandler(logging.NullHandler())
