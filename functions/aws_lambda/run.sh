#!/bin/sh
# InferenceFunction's handler: the Lambda Web Adapter layer starts it, with Lambda's Python.
set -eu
cd "$LAMBDA_TASK_ROOT"
exec "${LAMBDA_PYTHON:-python3}" -m functions.aws_lambda.streaming_server
