"""What was asked, what was recorded? Optuna's storage, SQLAlchemy and figures; never imports TensorFlow."""
