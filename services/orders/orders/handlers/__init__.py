"""One file per Lambda function, named as the function: parse, one use case, answer."""
