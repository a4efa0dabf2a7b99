"""What reads Postgres, DynamoDB and Step Functions."""
