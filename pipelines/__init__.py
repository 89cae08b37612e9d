"""What is done to data: one module a step, plain functions without Prefect."""
