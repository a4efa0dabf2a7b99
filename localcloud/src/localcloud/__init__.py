"""The laptop's cloud: Postgres, and LocalStack with Lambda functions as plain processes."""
