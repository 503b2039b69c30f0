"""What came out? Studies and trials, cost, pace, findings, retrainings, and the report of 2022."""
