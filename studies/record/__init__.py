"""What came out? Studies and trials, cost, pace, findings, retrainings, and the paper of 2022."""
