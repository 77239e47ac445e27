"""The `converse` format: Amazon Bedrock's Converse and ConverseStream, as an upstream's only."""
