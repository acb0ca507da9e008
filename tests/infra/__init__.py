"""The template of the deployment on AWS Lambda, and the checks of its artifacts."""
