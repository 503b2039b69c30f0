"""How is one network trained? TensorFlow and Keras; knows nothing of Optuna, SQL or studies."""
