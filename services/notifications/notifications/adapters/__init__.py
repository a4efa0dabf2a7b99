"""What talks to DynamoDB and SES."""
